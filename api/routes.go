package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// routes is the operations' mux. The standard one refuses path pairs such as
// /evidence/session/{id} and /evidence/{id}/download, since neither is more
// specific; here a literal segment wins over a parameter, from left to right.
// It is built once and then read by many goroutines.
type routes struct{ root routeNode }

type routeNode struct {
	literal   map[string]*routeNode
	parameter *routeNode
	methods   map[string]endpoint
}

// An endpoint is one operation: names are its path parameters in order.
type endpoint struct {
	names  []string
	handle http.HandlerFunc
}

// HandleFunc adds an operation under "METHOD /path/{parameter}". A pattern that
// is taken is a programming error.
func (rs *routes) HandleFunc(pattern string, handle func(http.ResponseWriter, *http.Request)) {
	method, path, _ := strings.Cut(pattern, " ")
	node, names := &rs.root, []string(nil)
	for _, segment := range segments(path) {
		if strings.HasPrefix(segment, "{") {
			names = append(names, strings.Trim(segment, "{}"))
			if node.parameter == nil {
				node.parameter = &routeNode{}
			}
			node = node.parameter
			continue
		}
		if node.literal == nil {
			node.literal = map[string]*routeNode{}
		}
		if node.literal[segment] == nil {
			node.literal[segment] = &routeNode{}
		}
		node = node.literal[segment]
	}
	if node.methods == nil {
		node.methods = map[string]endpoint{}
	}
	if _, taken := node.methods[method]; taken {
		panic("api: internal error: two operations on " + pattern)
	}
	node.methods[method] = endpoint{names, handle}
}

// ServeHTTP runs the operation of r, or answers 404 or 405 without a body.
func (rs *routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handle, allowed := rs.find(r)
	switch {
	case handle != nil:
		handle(w, r)
	case allowed != "":
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// find returns the operation of r with its path values set, or the methods that
// the path takes instead.
func (rs *routes) find(r *http.Request) (handle http.HandlerFunc, allowed string) {
	methods := map[string]bool{}
	e, values := rs.root.find(r.Method, segments(r.URL.Path), nil, methods)
	if e == nil {
		return nil, strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	}
	for i, name := range e.names {
		r.SetPathValue(name, values[i])
	}
	return e.handle, ""
}

func (n *routeNode) find(method string, path, values []string, methods map[string]bool) (*endpoint, []string) {
	if len(path) == 0 {
		e, ok := n.methods[method]
		if !ok && method == http.MethodHead {
			e, ok = n.methods[http.MethodGet]
		}
		if ok {
			return &e, values
		}
		for m := range n.methods {
			methods[m] = true
			if m == http.MethodGet {
				methods[http.MethodHead] = true
			}
		}
		return nil, nil
	}
	if next := n.literal[path[0]]; next != nil {
		if e, values := next.find(method, path[1:], values, methods); e != nil {
			return e, values
		}
	}
	if n.parameter != nil && path[0] != "" {
		// A copy: the literal branch of a level above may still come back.
		return n.parameter.find(method, path[1:], append(slices.Clone(values), path[0]), methods)
	}
	return nil, nil
}

func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }
