package crdt

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
)

// Policy says how the live values of a cell are read. A policy never writes (R10).
type Policy string

// The policies. Those for one value flag a conflict when more than one distinct value is
// live; Log and Union are meant to gather values and never do.
const (
	MV    Policy = "mv"    // the value; none while in conflict
	LWW   Policy = "lww"   // the first entry in the order of R7: for low stakes
	Worst Policy = "worst" // the value that comes first in the rule's Order
	Any   Policy = "any"   // true while any live value is true
	Min   Policy = "min"   // the least value
	Max   Policy = "max"   // the greatest value
	Union Policy = "union" // an array of the distinct values, in byte order
	Log   Policy = "log"   // an array of all values, oldest first
)

func (p Policy) gathers() bool { return p == Union || p == Log }

func (p Policy) valid() bool {
	switch p {
	case MV, LWW, Worst, Any, Min, Max, Union, Log:
		return true
	}
	return false
}

// A Rule gives the paths that match Path their Policy. Path is a path in which the segment
// "*" matches any one segment and a last segment "**" one or more. Order is for Worst only:
// JSON strings from the worst to the best.
type Rule struct {
	Path   string   `json:"path"`
	Policy Policy   `json:"policy"`
	Order  []string `json:"order,omitempty"`
}

// A Schema is a version of the reading rules for one kind of document; the first rule that
// matches decides, else Default. A published version never changes: a sign-off names the one
// it was read under. Make one with ParseSchema. Safe for many goroutines.
type Schema struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Default Policy `json:"default"`
	Rules   []Rule `json:"rules"`
}

//go:embed schemas
var schemaFiles embed.FS

// TestSessionVersion is the version of the rules that new test sessions are read under.
const TestSessionVersion = 1

// TestSession returns the rules for test sessions in the given version.
func TestSession(version int) (*Schema, error) {
	raw, err := schemaFiles.ReadFile(fmt.Sprintf("schemas/test-session.%d.json", version))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return ParseSchema(raw)
}

// MustTestSession returns the rules in version TestSessionVersion, for package variables.
func MustTestSession() *Schema {
	s, err := TestSession(TestSessionVersion)
	if err != nil {
		panic("crdt: internal error: " + err.Error())
	}
	return s
}

// ParseSchema reads a schema from JSON and checks it; unknown keys are refused. Its errors
// unwrap to ErrFormat.
func ParseSchema(raw []byte) (*Schema, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	s := &Schema{}
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("%w: schema: %w", ErrFormat, err)
	}
	switch {
	case dec.More():
		return nil, refuse("schema: more after the object")
	case !ValidActor(s.Name) || s.Version < 1:
		return nil, refuse("schema: bad name or version")
	case !s.Default.valid() || s.Default == Worst:
		return nil, refuse("schema: bad default policy")
	}
	for _, r := range s.Rules {
		if reason := r.check(); reason != "" {
			return nil, refuse("schema: rule " + r.Path + ": " + reason)
		}
	}
	return s, nil
}

func (r *Rule) check() string {
	switch plain := strings.ReplaceAll(r.Path, "*", "x"); {
	case !ValidPath(plain):
		return "bad path"
	case !r.Policy.valid():
		return "unknown policy"
	case (r.Policy == Worst) != (len(r.Order) > 0):
		return "an order belongs to worst, and worst needs one"
	}
	rest := r.Path
	for more := true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if strings.Contains(segment, "*") && segment != "*" && (segment != "**" || more) {
			return "bad wildcard"
		}
	}
	seen := map[string]bool{}
	for _, v := range r.Order {
		if seen[v] {
			return "value twice in order"
		}
		seen[v] = true
	}
	return ""
}

// ID returns "name/version".
func (s *Schema) ID() string { return fmt.Sprintf("%s/%d", s.Name, s.Version) }

// rule returns the rule for path.
func (s *Schema) rule(path string) Rule {
	for i := range s.Rules {
		if matches(s.Rules[i].Path, path) {
			return s.Rules[i]
		}
	}
	return Rule{Policy: s.Default}
}

// matches compares segment by segment without allocating: it runs for every value shown.
func matches(pattern, path string) bool {
	for {
		p, prest, pmore := strings.Cut(pattern, "/")
		if p == "**" {
			return true
		}
		s, srest, smore := strings.Cut(path, "/")
		if p != "*" && p != s || pmore != smore {
			return false
		}
		if !pmore {
			return true
		}
		pattern, path = prest, srest
	}
}
