package crdt

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"
)

// updateVectors writes testdata/vectors anew. The files are the contract with the JavaScript
// client, which has to give the same answers: look at the difference before committing it.
var updateVectors = flag.Bool("crdt.update", false, "write testdata/vectors anew")

// lineVector is one line and the verdict on it.
type lineVector struct {
	Name string `json:"name,omitempty"`
	Line string `json:"line"`
	OK   bool   `json:"ok"`
}

// valueVector is client JSON, its canonical form and what readers are shown; Canonical is
// empty where it is refused.
type valueVector struct {
	Raw       string `json:"raw"`
	Canonical string `json:"canonical"`
	Rendered  string `json:"rendered"`
}

// eventVector is an operation with its standing, an admission or a redaction. Sum is that of
// the original line when the operation comes without its value.
type eventVector struct {
	Line       string `json:"line,omitempty"`
	Sum        string `json:"sum,omitempty"`
	Quarantine bool   `json:"quarantine,omitempty"`
	Admit      string `json:"admit,omitempty"`
	Redact     string `json:"redact,omitempty"`
}

func vectorOf(e event) eventVector {
	switch {
	case e.redact.Seq > 0:
		return eventVector{Redact: e.redact.String()}
	case e.op == nil:
		return eventVector{Admit: e.admit.String()}
	}
	v := eventVector{Line: string(e.op.AppendJSON(nil)), Quarantine: e.quarantine}
	if IsRedacted(e.op.Val) {
		sum := e.op.Sum()
		v.Sum = hex.EncodeToString(sum[:])
	}
	return v
}

func (v eventVector) event(t *testing.T) (e event) {
	t.Helper()
	e.admit, _ = ParseDot(v.Admit)
	e.redact, _ = ParseDot(v.Redact)
	e.quarantine = v.Quarantine
	switch {
	case v.Sum != "":
		sum, _ := hex.DecodeString(v.Sum)
		op, err := ParseRedacted([]byte(v.Line), [32]byte(sum))
		if err != nil {
			t.Fatalf("%s: %v", v.Line, err)
		}
		e.op = &op
	case v.Line != "":
		e.op = mustParse(t, v.Line)
	}
	return e
}

// historyVector is what a replica is told, in an order that works, and where it ends.
type historyVector struct {
	Events []eventVector     `json:"events"`
	Text   string            `json:"text"`
	Digest string            `json:"digest"`
	Chains map[string]string `json:"chains"` // last link of each actor in document "doc"
	State  json.RawMessage   `json:"state"`  // materialised under test-session/1
}

func TestVectors(t *testing.T) {
	t.Parallel()
	checkVectors(t, "lines.json", lineVectors(), func(t *testing.T, v lineVector) {
		if _, err := ParseOp([]byte(v.Line)); (err == nil) != v.OK {
			t.Errorf("%s %s: got %v, want ok %v", v.Name, v.Line, err, v.OK)
		}
	})
	checkVectors(t, "values.json", valueVectors(), func(t *testing.T, v valueVector) {
		got, err := CanonicalJSON([]byte(v.Raw))
		if string(got) != v.Canonical || (err == nil) != (v.Canonical != "") || string(RenderJSON(string(got))) != v.Rendered {
			t.Errorf("%s: got %s, %v; want %s", v.Raw, got, err, v.Canonical)
		}
	})
	checkVectors(t, "histories.json", historyVectors(t), func(t *testing.T, v historyVector) {
		if got := runVector(t, v.Events); got.Text != v.Text || got.Digest != v.Digest || string(got.State) != string(v.State) {
			t.Errorf("got\n%s%s\nwant\n%s%s", got.Text, got.State, v.Text, v.State)
		} else if !equalJSON(got.Chains, v.Chains) {
			t.Errorf("chains: got %v, want %v", got.Chains, v.Chains)
		}
	})
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// checkVectors reads the stored vectors, or stores current ones when asked to, and checks
// each. No file or an empty one is a failure.
func checkVectors[V any](t *testing.T, name string, current []V, check func(*testing.T, V)) {
	t.Helper()
	file := filepath.Join("testdata", "vectors", name)
	if *updateVectors {
		var out []byte
		for i, v := range current {
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, "[,"[min(i, 1)], '\n')
			out = append(out, raw...)
		}
		if err := os.WriteFile(file, append(out, "\n]\n"...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var stored []V
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(stored) < 10 {
		t.Fatalf("%s: got %d vectors, want 10 or more", file, len(stored))
	}
	for _, v := range stored {
		check(t, v)
	}
}

func lineVectors() (vectors []lineVector) {
	for _, line := range goodLines {
		vectors = append(vectors, lineVector{Line: line, OK: true})
	}
	names := make([]string, 0, len(badLines))
	for name, line := range badLines {
		// JSON cannot carry broken UTF-8, and the long ones would hide the others.
		if utf8.ValidString(line) && len(line) < 1000 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		vectors = append(vectors, lineVector{Name: name, Line: badLines[name]})
	}
	return vectors
}

func valueVectors() (vectors []valueVector) {
	for _, raw := range []string{
		`null`, ` true `, `"\u0061\/\u00e9\ud83d\ude00\u2028<"`, `"\u000A\u001F"`, `0`, `-7`, `9007199254740991`,
		`9007199254740993`, `12.50`, `1e-3`, `1E+3`, `-0`, `1.0`, `{"$num":"12.50"}`, `{"b":1,"a":[1.5,{"d":2.5,"c":{}}]}`,
		`{"Z":1,"a":2,"_":3,"\"":4,"\\":5}`, `"{\"$num\":\"1.5\"}"`, `[ ]`, `[[[[[1.5]]]]]`, `[[[[[[1]]]]]]`, `"\ud800"`,
		`"\u0000"`, `{"a":1,"a":1}`, `{"ü":1}`, `01`, `1.`, `1e400`, `1e-1001`, `{"$num":"5"}`, `{"$num":1.5}`,
		`{"$num":"1.5","a":1}`, `1 2`, `nul`, `{"$redacted":"0123456789abcdef0123456789abcdef"}`, `[{"a":1,"$redacted":null}]`, `"$redacted"`,
	} {
		v := valueVector{Raw: raw}
		if canonical, err := CanonicalJSON([]byte(raw)); err == nil {
			v.Canonical, v.Rendered = string(canonical), string(RenderJSON(string(canonical)))
		}
		vectors = append(vectors, v)
	}
	return vectors
}

func historyVectors(t *testing.T) (vectors []historyVector) {
	for seed := range uint64(24) {
		var events []eventVector
		h := play(seeded(seed+9000), 20+int(seed))
		s := h.spec()
		for i, e := range h.events {
			events = append(events, vectorOf(s.retold(e, i)))
		}
		vectors = append(vectors, runVector(t, events))
	}
	return vectors
}

// retold is an event as one of three hears of it: as it was; as one who never held the value;
// or, of a redaction, as one who is told the operation again without its value.
func (s *spec) retold(e event, way int) event {
	switch {
	case way%3 == 1 && e.op != nil && s.redacted[e.op.Dot]:
		_, stub := e.op.Redact()
		return event{op: &stub, quarantine: e.quarantine}
	case way%3 == 2 && e.redact.Seq > 0:
		_, stub := s.ops[e.redact].Redact()
		return event{op: &stub}
	}
	return e
}

func runVector(t *testing.T, events []eventVector) historyVector {
	t.Helper()
	d, links := New(), map[string][32]byte{}
	for _, v := range events {
		e := v.event(t)
		again := e.op != nil && d.Has(e.op.Dot)
		if err := tell(d, e); err != nil {
			t.Fatalf("%+v: %v", v, err)
		}
		if e.op == nil || again {
			continue
		}
		link, ok := links[e.op.Actor]
		if !ok {
			link = ChainStart("doc", e.op.Actor)
		}
		links[e.op.Actor] = ChainSum(link, e.op.Sum())
	}
	digest := d.Digest()
	v := historyVector{Events: events, Text: string(d.Text()), Digest: hex.EncodeToString(digest[:]),
		Chains: map[string]string{}, State: d.Materialise(MustTestSession())}
	for name, link := range links {
		v.Chains[name] = hex.EncodeToString(link[:])
	}
	return v
}
