package crdt

import (
	"errors"
	"strings"
	"testing"
)

// A value that a claim had replaced comes back without its content once that was erased.
func TestRedactedShadow(t *testing.T) {
	t.Parallel()
	a := Op{Dot: Dot{"a", 1}, Kind: Put, Path: "p", Val: `"Jane Doe"`}
	original := Op{Dot: Dot{"c", 1}, Kind: Put, Path: "p", Val: "3"}
	claim := Op{Dot: Dot{"d", 1}, Kind: Put, Path: "p", Val: "3", Seen: []Dot{a.Dot}, Origin: original.OriginHash()}
	d := New()
	for _, o := range []Op{a, claim} {
		if _, err := d.Apply(&o); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Redact(a.Dot); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(&original); err != nil {
		t.Fatal(err)
	}
	if text := string(d.Text()); strings.Contains(text, "Jane") || !strings.Contains(text, "c p a.1 "+Redacted(a.Val)) {
		t.Errorf("got\n%swant a.1 back and erased", text)
	}
	var missing *MissingError
	if err := d.Redact(Dot{"a", 2}); !errors.As(err, &missing) {
		t.Errorf("an operation not held: got %v, want it missing", err)
	}
}

// What Redact writes only ParseRedacted reads, and that reads nothing else.
func TestRedactedLine(t *testing.T) {
	t.Parallel()
	for _, line := range goodLines {
		o := mustParse(t, line)
		stub, redacted := o.Redact()
		if redacted.Sum() != o.Sum() || redacted.OriginHash() != o.OriginHash() {
			t.Errorf("%s: the sum changed", line)
		}
		again, err := ParseRedacted(stub, o.Sum())
		if o.Val == "" {
			if err != nil || string(stub) != line {
				t.Errorf("%s: got %s (%v), want it unchanged", line, stub, err)
			}
			continue
		}
		if err != nil || again.Sum() != o.Sum() || again.Val != Redacted(o.Val) || string(again.AppendJSON(nil)) != string(stub) {
			t.Errorf("%s: got %+v (%v)", line, again, err)
		}
		if twice, _ := again.Redact(); string(twice) != string(stub) {
			t.Errorf("%s: erased twice: got %s", stub, twice)
		}
		if _, err := ParseOp(stub); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: ParseOp: got %v, want refusal", stub, err)
		}
		if _, err := ParseRedacted([]byte(line), o.Sum()); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: ParseRedacted: got %v, want refusal", line, err)
		}
	}
}

// Two devices that wrote the same are no conflict, and none opens when one of the two values is
// erased: the print that is left is of the value beside it.
func TestErasedValueIsNoConflict(t *testing.T) {
	t.Parallel()
	schema := MustTestSession()
	const path = "items/a/remark"
	for _, first := range []Dot{{"a", 1}, {"b", 1}} {
		d := New()
		for _, actor := range []string{"a", "b"} {
			if _, err := d.Apply(&Op{Dot: Dot{actor, 1}, Kind: Put, Path: path, Val: `"Jane Doe"`}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Redact(first); err != nil {
			t.Fatal(err)
		}
		if v := schema.Resolve(d, path); v.Conflict || v.Policy != MV || v.Value != `"Jane Doe"` || len(d.Conflicts()) > 0 {
			t.Errorf("%s erased: got %+v, want the other one shown without a conflict", first, v)
		}
		if _, err := d.Apply(&Op{Dot: Dot{"c", 1}, Kind: Put, Path: path, Val: `"Jane Roe"`}); err != nil {
			t.Fatal(err)
		}
		if v := schema.Resolve(d, path); !v.Conflict || v.Value != "" {
			t.Errorf("and another value: got %+v, want a conflict", v)
		}
	}
	d := New()
	for _, actor := range []string{"a", "b"} {
		dot := Dot{actor, 1}
		if _, err := d.Apply(&Op{Dot: dot, Kind: Put, Path: path, Val: `"Jane Doe"`}); err != nil {
			t.Fatal(err)
		}
		if err := d.Redact(dot); err != nil {
			t.Fatal(err)
		}
	}
	if v := schema.Resolve(d, path); v.Conflict || !IsRedacted(v.Value) {
		t.Errorf("both erased: got %+v, want the print", v)
	}
}

// Whatever the policy shows, it shows no print while another entry has the value; a list of what
// was said keeps both.
func TestPrintsGiveWayToTheirValue(t *testing.T) {
	t.Parallel()
	for policy, row := range map[Policy]struct{ vals, want string }{
		Worst: {`"pass" "pass"`, `"pass"`},
		LWW:   {`"x" "x"`, `"x"`},
		MV:    {`"x" "x"`, `"x"`},
		Min:   {`3 3`, `3`},
		Max:   {`3 3`, `3`},
		Any:   {`true true`, `true`},
		Union: {`"x" "x"`, `["x"]`},
		Log:   {`"x" "x"`, `["x",` + Redacted(`"x"`) + `]`},
	} {
		schema := &Schema{Name: "s", Version: 1, Default: policy}
		d := New()
		for i, val := range strings.Fields(row.vals) {
			if _, err := d.Apply(&Op{Dot: Dot{string(rune('a' + i)), 1}, Kind: Put, Path: "p", Val: val}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Redact(Dot{"b", 1}); err != nil { // the one that sorts first
			t.Fatal(err)
		}
		if v := schema.Resolve(d, "p"); v.Value != row.want || v.Conflict || len(v.Entries) != 2 {
			t.Errorf("%s: got %+v, want %s without a conflict", policy, v, row.want)
		}
	}
}
