package crdt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// rivals returns a document in which values are live at path, the first being the oldest.
func rivals(t testing.TB, path string, values ...string) *Doc {
	t.Helper()
	d := New()
	for i, v := range values {
		o := Op{Dot: Dot{fmt.Sprintf("a%02d", i), 1}, Time: NewTime(uint64(i), 0), Kind: Put, Path: path, Val: v}
		if _, parsed, err := o.Encode(); err != nil {
			t.Fatal(err)
		} else if _, err := d.Apply(&parsed); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestResolve(t *testing.T) {
	t.Parallel()
	schema := MustTestSession()
	for _, tt := range []struct {
		path, values, want string
		conflict           bool
	}{
		{"items/FE-001/result", `"pass" "fail"`, `"fail"`, true},
		{"items/FE-001/result", `"fail" "pass"`, `"fail"`, true},
		{"items/FE-001/result", `"pass" "na"`, `"na"`, true},
		{"items/FE-001/result", `"na" "needs-review" "pass"`, `"needs-review"`, true},
		{"items/FE-001/result", `"pass" "pass"`, `"pass"`, false},
		{"items/FE-001/result", `"pass" "mended"`, `"mended"`, true},
		{"items/FE-001/result", `"needs-review" 7`, `7`, true},
		{"items/FE-001/result", `"mended" "fail"`, `"fail"`, true},
		{"items/FE-001/outcome", `"non_conformance" "critical_defect" "pass"`, `"critical_defect"`, true},
		{"defects/0199/severity", `"non_conformance" "non_critical_defect"`, `"non_critical_defect"`, true},
		{"items/FE-001/value", `1 2`, ``, true},
		{"items/FE-001/value", `2 2`, `2`, false},
		{"items/FE-001/anything", `1 2`, ``, true},
		{"items/FE-001/isolated", `true false`, `true`, true},
		{"items/FE-001/isolated", `false false`, `false`, false},
		{"impairment", `false true false`, `true`, true},
		{"notes", `"a" "b" "a"`, `["a","b","a"]`, false},
		{"notes/2026/11", `"a"`, `["a"]`, false},
		{"photos", `{"sha256":"b"} {"sha256":"a"} {"sha256":"b"}`, `[{"sha256":"a"},{"sha256":"b"}]`, false},
		{"status", `"open" "locked"`, `"locked"`, true},
		{"started_at", `"2026-11-23T08:00:00Z" "2026-11-23T07:59:59Z"`, `"2026-11-23T07:59:59Z"`, true},
		{"finished_at", `"2026-11-23T08:00:00Z" "2026-11-23T07:59:59Z"`, `"2026-11-23T08:00:00Z"`, true},
		{"finished_at", `{"$num":"9.5"} 10 {"$num":"1e1"} null "x"`, `"x"`, true},
		{"started_at", `{"$num":"9.5"} 10 {"$num":"95e-2"}`, `{"$num":"95e-2"}`, true},
		{"started_at", `true [1] false "" null {}`, `null`, true},
		{"finished_at", `"a\"" "a#"`, `"a#"`, true},
		{"started_at", `"a!" "a\n"`, `"a\n"`, true},
	} {
		d := rivals(t, tt.path, strings.Fields(tt.values)...)
		v := schema.Resolve(d, tt.path)
		if v.Value != tt.want || v.Conflict != tt.conflict || len(v.Entries) != d.Live() {
			t.Errorf("%s of %s: got %s, conflict %v, %d entries; want %s, conflict %v", tt.path, tt.values, v.Value, v.Conflict, len(v.Entries), tt.want, tt.conflict)
		}
	}
	if v := schema.Resolve(New(), "status"); v.Value != "" || v.Conflict || v.Entries != nil || v.Policy != LWW {
		t.Errorf("nothing there: got %+v", v)
	}
}

// TestPoliciesNeverWrite is R10: reading under every policy leaves the document as it was,
// and a policy sees the same whatever order the values came in.
func TestPoliciesNeverWrite(t *testing.T) {
	t.Parallel()
	order := []string{"1", "2"}
	for _, p := range []Policy{MV, LWW, Worst, Any, Min, Max, Union, Log} {
		s := &Schema{Name: "x", Version: 1, Default: MV, Rules: []Rule{{Path: "**", Policy: p, Order: order}}}
		for seed := range uint64(20) {
			h := play(seeded(seed), 30)
			a, b := New(), New()
			if err := errors.Join(deliver(a, h.events), deliver(b, shuffled(h.events, seeded(seed)))); err != nil {
				t.Fatal(err)
			}
			before := a.Digest()
			for path := range a.Paths("") {
				if got, want := fmt.Sprint(s.Resolve(b, path)), fmt.Sprint(s.Resolve(a, path)); got != want {
					t.Fatalf("%s, seed %d: got %s, want %s", p, seed, got, want)
				}
			}
			s.Conflicts(a)
			if a.Digest() != before {
				t.Fatalf("%s, seed %d: reading changed the document", p, seed)
			}
		}
	}
}

func TestViewIsTheCallersOwn(t *testing.T) {
	t.Parallel()
	d := rivals(t, "status", `"open"`)
	before := d.Digest()
	d.Values("status")[0].Val = "changed"
	MustTestSession().Resolve(d, "status").Entries[0].Val = "changed"
	d.Version()["a00"] = 99
	if d.Digest() != before {
		t.Error("an answer shares memory with the document")
	}
}

func TestSchemaConflicts(t *testing.T) {
	t.Parallel()
	d := New()
	for i := range 2 {
		for j, path := range []string{"status", "notes", "items/b/result", "items/a/result", "same"} {
			o := Op{Dot: Dot{fmt.Sprintf("a%d", i), uint64(j + 1)}, Kind: Put, Path: path, Val: fmt.Sprint(i)}
			if path == "same" {
				o.Val = "1"
			}
			if _, err := d.Apply(&o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := fmt.Sprint(d.Conflicts()), "[items/a/result items/b/result notes status]"; got != want {
		t.Errorf("Doc.Conflicts: got %s, want %s", got, want)
	}
	var paths []string
	for _, v := range MustTestSession().Conflicts(d) {
		paths = append(paths, v.Path)
	}
	if got, want := fmt.Sprint(paths), "[items/a/result items/b/result status]"; got != want {
		t.Errorf("Schema.Conflicts: got %s, want %s", got, want)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a/b", false}, {"a/b", "a", false},
		{"*", "a", true}, {"*", "a/b", false}, {"a/*/c", "a/b/c", true}, {"a/*/c", "a/b/d", false},
		{"a/*/c", "a/b", false}, {"**", "a/b/c", true}, {"a/**", "a", false}, {"a/**", "a/b", true},
		{"a/**", "a/b/c", true}, {"a/**", "b/c", false}, {"a/*", "ab", false},
	} {
		if got := matches(tt.pattern, tt.path); got != tt.want {
			t.Errorf("matches(%s, %s): got %v", tt.pattern, tt.path, got)
		}
	}
}

func TestParseSchemaRefuses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"empty":           ``,
		"unknown key":     `{"name":"x","version":1,"default":"mv","extra":1}`,
		"two objects":     `{"name":"x","version":1,"default":"mv"} {}`,
		"no version":      `{"name":"x","default":"mv"}`,
		"bad name":        `{"name":"x/y","version":1,"default":"mv"}`,
		"no default":      `{"name":"x","version":1}`,
		"default worst":   `{"name":"x","version":1,"default":"worst"}`,
		"unknown policy":  `{"name":"x","version":1,"default":"mv","rules":[{"path":"a","policy":"newest"}]}`,
		"bad path":        `{"name":"x","version":1,"default":"mv","rules":[{"path":"a//b","policy":"mv"}]}`,
		"star in segment": `{"name":"x","version":1,"default":"mv","rules":[{"path":"a*","policy":"mv"}]}`,
		"stars not last":  `{"name":"x","version":1,"default":"mv","rules":[{"path":"**/a","policy":"mv"}]}`,
		"worst, no order": `{"name":"x","version":1,"default":"mv","rules":[{"path":"a","policy":"worst"}]}`,
		"order for mv":    `{"name":"x","version":1,"default":"mv","rules":[{"path":"a","policy":"mv","order":["x"]}]}`,
		"value twice":     `{"name":"x","version":1,"default":"mv","rules":[{"path":"a","policy":"worst","order":["x","x"]}]}`,
	} {
		if _, err := ParseSchema([]byte(raw)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	if _, err := TestSession(99); err == nil {
		t.Error("unknown version: got no error")
	}
	if got := MustTestSession().ID(); got != "test-session/1" {
		t.Errorf("ID: got %s", got)
	}
}

// TestMaterialiseNests compares the streamed nesting with objects built one by one.
func TestMaterialiseNests(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	schema := &Schema{Name: "x", Version: 1, Default: MV}
	for range 300 {
		d := New()
		for i := range r.IntN(12) {
			segments := make([]string, 1+r.IntN(3))
			for j := range segments {
				segments[j] = []string{"a", "a-b", "a.b", "ab", "b", "0", ":"}[r.IntN(7)]
			}
			o := Op{Dot: Dot{"w", uint64(i + 1)}, Kind: []Kind{Put, Inc, Ins}[r.IntN(3)], Path: strings.Join(segments, "/"), Val: "1", N: 1}
			if _, err := d.Apply(&o); err != nil {
				t.Fatal(err)
			}
		}
		want := `{"$schema":"x/1"` + nested(d, schema, "") + "}"
		if got := string(d.Materialise(schema)); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// nested returns the members below path, each with a comma before it.
func nested(d *Doc, s *Schema, path string) string {
	prefix, out, last := path, "", ""
	if path != "" {
		prefix += "/"
		out = strings.TrimSuffix(strings.TrimPrefix(string(d.AppendNode(nil, s, path)), "{"), "}")
		if out != "" {
			out = "," + out
		}
	}
	children := map[string]bool{}
	for p := range d.Paths(prefix) {
		segment, _, _ := strings.Cut(strings.TrimPrefix(p, prefix), "/")
		children[segment] = true
	}
	for range len(children) {
		next := ""
		for c := range children {
			if c > last && (next == "" || c < next) {
				next = c
			}
		}
		last = next
		out += `,"` + next + `":{` + strings.TrimPrefix(nested(d, s, prefix+next), ",") + `}`
	}
	return out
}
