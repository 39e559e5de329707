package seed

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"firemode/collections"
	"firemode/rules"
)

var anchor = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func TestIDsAreValidAndStable(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(collections.IDPattern)
	m := maker{1, anchor}
	seen := map[string]bool{}
	for i := range 1000 {
		id := m.id("kind", strconv.Itoa(i), anchor)
		if !pattern.MatchString(id) || seen[id] {
			t.Fatalf("id %s of %d: not a UUIDv7, or given twice", id, i)
		}
		seen[id] = true
	}
	first, again := m.id("a", "b", anchor), m.id("a", "b", anchor)
	if first != again || first == (maker{2, anchor}).id("a", "b", anchor) {
		t.Error("ids depend on something else than seed and name")
	}
	if early, late := m.id("z", "1", anchor), m.id("a", "1", anchor.Add(time.Second)); early >= late {
		t.Errorf("ids do not sort by time: %s, %s", early, late)
	}
}

// Every reading is decided by its rule as the demonstration says it is.
func TestReadingsFollowTheirRules(t *testing.T) {
	t.Parallel()
	_, book, err := maker{1, anchor}.ruleRows()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for seed := range int64(20) {
		m := maker{seed, anchor}
		for _, c := range checks {
			rule := book[c.code()].rule
			if rule.Code == "" {
				t.Fatalf("no starter rule %s", c.code())
			}
			r := m.rand("test", c.rule)
			for _, got := range []reading{c.good(r), c.bad(r)} {
				clause, err := decide(rule, got.inputs)
				if err != nil {
					t.Fatalf("%s: %v", rule.Code, err)
				}
				if clause != got.clause {
					t.Errorf("%s with %v: clause %d decides, the reading says %d", rule.Code, got.inputs, clause, got.clause)
				}
				checked++
			}
		}
	}
	if checked < 500 {
		t.Errorf("checked %d readings only", checked)
	}
}

// decide finds the first clause that holds, or passed. It knows just enough of
// the language for this test.
func decide(rule rules.Rule, inputs map[string]any) (int, error) {
	for i, c := range rule.Decide {
		if c.Else {
			return passed, nil
		}
		expr, err := parser.ParseExpr(c.When)
		if err != nil {
			return 0, err
		}
		holds, err := eval(expr, inputs)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.When, err)
		}
		if holds == true {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no else")
}

func eval(e ast.Expr, inputs map[string]any) (any, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return eval(e.X, inputs)
	case *ast.BasicLit:
		return strconv.ParseFloat(e.Value, 64)
	case *ast.Ident:
		switch v := inputs[e.Name].(type) {
		case bool:
			return v, nil
		case int:
			return float64(v), nil
		case json.Number:
			return v.Float64()
		}
		return nil, fmt.Errorf("%s is missing", e.Name)
	case *ast.UnaryExpr:
		v, err := eval(e.X, inputs)
		if err != nil {
			return nil, err
		}
		return !v.(bool), nil
	case *ast.BinaryExpr:
		x, err := eval(e.X, inputs)
		if err != nil {
			return nil, err
		}
		y, err := eval(e.Y, inputs)
		if err != nil {
			return nil, err
		}
		switch e.Op {
		case token.LAND:
			return x.(bool) && y.(bool), nil
		case token.LOR:
			return x.(bool) || y.(bool), nil
		}
		a, b := x.(float64), y.(float64)
		return map[token.Token]any{token.LSS: a < b, token.GTR: a > b, token.MUL: a * b, token.ADD: a + b, token.EQL: a == b}[e.Op], nil
	}
	return nil, fmt.Errorf("unknown expression %T", e)
}

// Whatever the seed, the demonstration has conflicts, faults and every state.
func TestPlansHoldWhatTheyPromise(t *testing.T) {
	t.Parallel()
	_, book, err := maker{1, anchor}.ruleRows()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range int64(2) {
		m := maker{seed, anchor}
		visits, err := m.visits()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		contested, resolved := 0, 0
		for _, v := range visits {
			waiting := 0
			for _, f := range v.findings {
				if f.contested != nil {
					contested++
				}
				if f.contested != nil && !f.resolved {
					waiting++
				}
				if f.resolved {
					resolved++
				}
			}
			if v.status == collections.SessionActive && waiting == 0 {
				t.Errorf("seed %d: no conflict waits in the active session at %s", seed, v.place.name)
			}
		}
		if contested < 30 || resolved < 10 || resolved >= contested {
			t.Errorf("seed %d: %d contested findings, %d resolved", seed, contested, resolved)
		}
		defects := m.defects(visits, book)
		var states []int
		for _, d := range defects {
			states = append(states, d.state)
			if d.reached(d.state).After(m.anchor) {
				t.Errorf("seed %d: a defect is %s in the future", seed, defectStates[d.state])
			}
		}
		slices.Sort(states)
		if got := slices.Compact(states); len(got) != len(defectStates) {
			t.Errorf("seed %d: states %v, want all %d", seed, got, len(defectStates))
		}
		sums := map[string]bool{}
		for _, p := range m.photographs(visits, defects) {
			if sums[p.picture.sha256] {
				t.Errorf("seed %d: a picture twice", seed)
			}
			sums[p.picture.sha256] = true
		}
	}
}
