package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// hooksAreNamed: handlers of equal or empty Id replace each other or cannot be
// found again, and one handler value bound twice never fires the second time.
func hooksAreNamed(s source) (found []string) {
	if s.isTest() {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "BindFunc" {
				found = append(found, s.at(n, "BindFunc gives a handler no Id; use Bind"))
			}
		case *ast.CompositeLit:
			index, ok := n.Type.(*ast.IndexExpr)
			if !ok {
				return true
			}
			if sel, ok := index.X.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Handler" {
				return true
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && fmt.Sprint(kv.Key) == "Id" {
					return true
				}
			}
			found = append(found, s.at(n, "a handler without an Id"))
		}
		return true
	})
	return found
}

// handlersAreNotShared: PocketBase writes an id into the handler it binds, so one
// value bound to two hooks fires on the first alone. A literal cannot be shared.
func handlersAreNotShared(s source) (found []string) {
	if s.isTest() {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Bind" {
			return true
		}
		id, ok := call.Args[0].(*ast.Ident)
		if ok && handlerVariable(id) {
			found = append(found, s.at(n, "a handler kept in a variable; make a new one for each Bind"))
		}
		return true
	})
	return found
}

// handlerVariable says whether the variable was declared as a hook.Handler.
func handlerVariable(id *ast.Ident) bool {
	if id.Obj == nil {
		return false
	}
	handler := false
	decl, _ := id.Obj.Decl.(ast.Node)
	ast.Inspect(decl, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		handler = handler || ok && sel.Sel.Name == "Handler"
		return !handler
	})
	return handler
}

// outermostEvents carry the outermost app: no transaction is open in their hooks.
var outermostEvents = []string{"ServeEvent", "TerminateEvent", "BootstrapEvent"}

// hooksUseTheEventsApp: inside a transaction a captured app waits for the
// writer that the transaction itself holds.
func hooksUseTheEventsApp(s source) (found []string) {
	if s.isTest() {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		var kind *ast.FuncType
		var body *ast.BlockStmt
		switch f := n.(type) {
		case *ast.FuncLit:
			kind, body = f.Type, f.Body
		case *ast.FuncDecl:
			kind, body = f.Type, f.Body
		}
		if body == nil || !takesHookEvent(kind) {
			return true
		}
		ast.Inspect(body, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch x := sel.X.(type) {
			case *ast.Ident:
				own := x.Obj != nil && x.Obj.Pos() >= kind.Pos() && x.Obj.Pos() <= body.End()
				if x.Name == "app" && !own {
					found = append(found, s.at(n, "a hook uses a captured app; use e.App"))
				}
			case *ast.SelectorExpr:
				if x.Sel.Name == "app" {
					found = append(found, s.at(n, "a hook uses an app kept elsewhere; use e.App"))
				}
			}
			return true
		})
		return false
	})
	return found
}

// takesHookEvent says whether a function has an event of PocketBase that may come
// from inside a transaction as a parameter.
func takesHookEvent(kind *ast.FuncType) bool {
	for _, p := range kind.Params.List {
		star, ok := p.Type.(*ast.StarExpr)
		if !ok {
			continue
		}
		sel, ok := star.X.(*ast.SelectorExpr)
		if ok && fmt.Sprint(sel.X) == "core" && strings.HasSuffix(sel.Sel.Name, "Event") && !slices.Contains(outermostEvents, sel.Sel.Name) {
			return true
		}
	}
	return false
}
