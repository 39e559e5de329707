package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
)

// kind is the type of a condition's part.
type kind string

const (
	kindNumber  kind = "number"
	kindBoolean kind = "boolean"
	kindText    kind = "text"
)

// checkCondition checks that a condition is a yes-or-no expression over the
// declared inputs, and returns the inputs it names. The language is the part
// that Go, CEL and Expr share: names, literals, ! && || == != < <= > >= + - * /
// and parentheses; no calls, no indexing, so it always ends and touches nothing.
func checkCondition(when string, inputs []Input) ([]string, error) {
	if len(when) > conditionMax {
		return nil, fmt.Errorf("condition longer than %d characters", conditionMax)
	}
	expr, err := parser.ParseExpr(when)
	if err != nil {
		return nil, fmt.Errorf("condition %q does not parse", when)
	}
	c := checker{inputs: inputs}
	got, err := c.kindOf(expr)
	if err != nil {
		return c.names, fmt.Errorf("condition %q: %w", when, err)
	}
	if got != kindBoolean {
		return c.names, fmt.Errorf("condition %q is a %s, not a yes or no", when, got)
	}
	return c.names, nil
}

type checker struct {
	inputs []Input
	names  []string
}

func (c *checker) kindOf(e ast.Expr) (kind, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return c.kindOf(e.X)
	case *ast.BasicLit:
		switch e.Kind {
		case token.INT, token.FLOAT:
			// Other spellings (0x10, 1_000, 010) mean different things elsewhere.
			if n, err := strconv.ParseFloat(e.Value, 64); err != nil || !plainNumber(e.Value) || n < 0 {
				return "", fmt.Errorf("number %s is not plain decimal", e.Value)
			}
			return kindNumber, nil
		case token.STRING:
			if e.Value[0] == '"' {
				return kindText, nil
			}
		}
		return "", fmt.Errorf("literal %s is not allowed", e.Value)
	case *ast.Ident:
		return c.input(e.Name)
	case *ast.UnaryExpr:
		of, err := c.kindOf(e.X)
		if err != nil {
			return "", err
		}
		if e.Op == token.NOT && of == kindBoolean || e.Op == token.SUB && of == kindNumber {
			return of, nil
		}
		return "", fmt.Errorf("%s does not apply to a %s", e.Op, of)
	case *ast.BinaryExpr:
		return c.binary(e)
	}
	return "", fmt.Errorf("only names, literals and operators are allowed")
}

func plainNumber(s string) bool {
	for i, r := range s {
		if r != '.' && (r < '0' || r > '9') || i == 0 && r == '.' {
			return false
		}
	}
	return len(s) < 2 || s[0] != '0' || s[1] == '.'
}

func (c *checker) input(name string) (kind, error) {
	if name == "true" || name == "false" {
		return kindBoolean, nil
	}
	i := slices.IndexFunc(c.inputs, func(in Input) bool { return in.Name == name })
	if i < 0 {
		return "", fmt.Errorf("%s is not an input", name)
	}
	c.names = append(c.names, name)
	switch c.inputs[i].Type {
	case TypeBoolean:
		return kindBoolean, nil
	case TypeChoice:
		return kindText, nil
	}
	return kindNumber, nil
}

func (c *checker) binary(e *ast.BinaryExpr) (kind, error) {
	left, err := c.kindOf(e.X)
	if err != nil {
		return "", err
	}
	right, err := c.kindOf(e.Y)
	if err != nil {
		return "", err
	}
	if left != right {
		return "", fmt.Errorf("%s between a %s and a %s", e.Op, left, right)
	}
	switch e.Op {
	case token.LAND, token.LOR:
		if left == kindBoolean {
			return kindBoolean, nil
		}
	case token.EQL, token.NEQ:
		if left == kindText {
			if err := c.option(e); err != nil {
				return "", err
			}
		}
		return kindBoolean, nil
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		if left == kindNumber {
			return kindBoolean, nil
		}
	case token.ADD, token.SUB, token.MUL, token.QUO:
		if left == kindNumber {
			return kindNumber, nil
		}
	}
	return "", fmt.Errorf("%s does not apply to a %s", e.Op, left)
}

// option checks that a choice is compared with one of its options: a misspelt
// one would silently never match.
func (c *checker) option(e *ast.BinaryExpr) error {
	name, isName := e.X.(*ast.Ident)
	literal, isLiteral := e.Y.(*ast.BasicLit)
	if !isName || !isLiteral {
		return fmt.Errorf("a choice is compared as name == \"option\"")
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return fmt.Errorf("text %s does not parse", literal.Value)
	}
	i := slices.IndexFunc(c.inputs, func(in Input) bool { return in.Name == name.Name })
	if !slices.Contains(c.inputs[i].Options, text) {
		return fmt.Errorf("%q is not an option of %s", text, name.Name)
	}
	return nil
}
