package crdt

import "testing"

// mustParse reads lines that the test knows to be good.
func mustParse(t testing.TB, line string) *Op {
	t.Helper()
	o, err := ParseOp([]byte(line))
	if err != nil {
		t.Fatalf("ParseOp(%s): %v", line, err)
	}
	return &o
}

// build applies lines in order, each of which has to be new.
func build(t testing.TB, lines ...string) *Doc {
	t.Helper()
	d := New()
	for _, line := range lines {
		if applied, err := d.Apply(mustParse(t, line)); !applied || err != nil {
			t.Fatalf("Apply(%s): got %v, %v; want true, nil", line, applied, err)
		}
	}
	return d
}
