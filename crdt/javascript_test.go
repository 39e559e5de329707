package crdt

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// jsModule is the client's own implementation of the rules.
var jsModule = filepath.Join("..", "pb_public", "static", "crdt.mjs")

// A jsPeer answers questions with the rules in JavaScript.
type jsPeer struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

func newJSPeer(t testing.TB, module string) *jsPeer {
	t.Helper()
	cmd := exec.Command("node", filepath.Join("testdata", "javascript.mjs"), module)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start node: %v", err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &jsPeer{t, in, bufio.NewReader(out)}
}

// ask sends one question and decodes the answer.
func (p *jsPeer) ask(question, answer any) {
	p.t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(question); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(b.Bytes()); err != nil {
		p.t.Fatalf("ask node: %v", err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("node gave no answer to %.300s: %v", b.Bytes(), err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		p.t.Fatalf("read node's answer %.300s: %v", line, err)
	}
}

type jsVerdict struct {
	OK                         bool
	Again, Canonical, Rendered string
}

// jsHistory is a question about a history, and the answer to it.
type jsHistory struct {
	Events    []eventVector     `json:"events"`
	Schema    *Schema           `json:"schema,omitempty"`
	Shuffled  bool              `json:"shuffled,omitempty"` // through an inbox, in any order
	Text      string            `json:"text"`
	Digest    string            `json:"digest"`
	Chains    map[string]string `json:"chains"`
	State     string            `json:"state"`
	Waiting   int               `json:"waiting"`
	Conflicts []string          `json:"conflicts"`
}

// The vectors are the contract: every one of them holds in JavaScript too.
func TestVectorsInJavaScript(t *testing.T) {
	t.Parallel()
	p := newJSPeer(t, jsModule)
	checkVectors(t, "lines.json", lineVectors(), func(t *testing.T, v lineVector) {
		if got := p.line(v.Line); got.OK != v.OK || got.OK && got.Again != v.Line {
			t.Errorf("%s %s: got %+v, want ok %v", v.Name, v.Line, got, v.OK)
		}
	})
	checkVectors(t, "values.json", valueVectors(), func(t *testing.T, v valueVector) {
		var got jsVerdict
		p.ask(map[string]string{"raw": v.Raw}, &got)
		if got.Canonical != v.Canonical || got.OK != (v.Canonical != "") || got.Rendered != v.Rendered {
			t.Errorf("%s: got %+v, want %s", v.Raw, got, v.Canonical)
		}
	})
	checkVectors(t, "histories.json", historyVectors(t), func(t *testing.T, v historyVector) {
		var got jsHistory
		p.ask(jsHistory{Events: v.Events, Schema: MustTestSession()}, &got)
		if got.Text != v.Text || got.Digest != v.Digest || got.State != string(v.State) || !equalJSON(got.Chains, v.Chains) {
			t.Errorf("got\n%s%s\nwant\n%s%s", got.Text, got.State, v.Text, v.State)
		}
	})
}

func (p *jsPeer) line(line string) (got jsVerdict) {
	p.ask(map[string]string{"line": line}, &got)
	return got
}

// jsSchema reads the generated paths under changing policies.
func jsSchema(pick chooser) *Schema {
	policies := []Policy{MV, LWW, Worst, Any, Min, Max, Union, Log}
	s := &Schema{Name: "generated", Version: 1, Default: policies[:2][pick(2)]}
	for _, path := range []string{"a", "b", "*", "a/**"} {
		r := Rule{Path: path, Policy: policies[pick(len(policies))]}
		if r.Policy == Worst {
			r.Order = []string{"fail", "9", "pass"}
		}
		s.Rules = append(s.Rules, r)
	}
	return s
}

// colours are values on which the policies and the two languages' orders differ.
var colours = []string{
	`"fail"`, `"pass"`, `"needs-review"`, "\"\uff5e\"", "\"\U0001f600\"", `"a"`, `true`, `false`, `null`, `12`, `-3`, `[1,2]`, `{"q":"12.50","u":"kPa"}`,
	`{"$num":"12.50"}`, `{"$num":"12.5"}`, `{"$num":"1e3"}`, `{"$num":"-0.001"}`, `{"$num":"9007199254740993"}`, `{"$num":"9007199254740994"}`, `{"$num":"-0"}`,
}

// colour gives the operations of every second history such values. They lose their origins,
// which name others by the hash of their lines.
func (h *history) colour(pick chooser) {
	if pick(2) == 0 {
		return
	}
	for i, e := range h.events {
		if e.op == nil {
			continue
		}
		op := Op{Dot: e.op.Dot, Time: e.op.Time, Kind: e.op.Kind, Path: e.op.Path, N: e.op.N, Ref: e.op.Ref, Seen: e.op.Seen}
		if op.Kind == Put || op.Kind == Ins {
			op.Val = colours[pick(len(colours))]
		}
		_, parsed, err := op.Encode()
		if err != nil {
			panic(err) // every colour is canonical
		}
		h.events[i].op = &parsed
	}
}

// compareHistory asks for one generated history and returns what differs, or "".
func (p *jsPeer) compareHistory(t testing.TB, seed uint64) string {
	pick := seeded(seed)
	h := play(pick, 5+pick(60))
	h.colour(pick)
	shuffled, s := pick(3) == 0, h.spec()
	events := []eventVector{}
	for _, e := range h.events {
		if shuffled {
			if e.op == nil {
				continue
			}
			e.quarantine = false // an inbox takes operations only, and what is in effect
		} else {
			e = s.retold(e, pick(3))
		}
		events = append(events, vectorOf(e))
	}
	want := runVector(t.(*testing.T), events)
	schema := jsSchema(pick)
	doc := New()
	for _, e := range events {
		if err := tell(doc, e.event(t.(*testing.T))); err != nil {
			t.Fatal(err)
		}
	}
	conflicts := []string{}
	for _, v := range schema.Conflicts(doc) {
		conflicts = append(conflicts, v.Path)
	}
	asked := events
	if shuffled {
		asked = slices.Clone(events)
		random := rand.New(rand.NewPCG(seed, 2))
		random.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	}
	var got jsHistory
	p.ask(jsHistory{Events: asked, Schema: schema, Shuffled: shuffled}, &got)
	switch {
	case got.Text != want.Text || got.Digest != want.Digest:
		return "text:\n" + got.Text + "want\n" + want.Text
	case got.State != string(doc.Materialise(schema)):
		return "state:\n" + got.State + "\nwant\n" + string(doc.Materialise(schema))
	case !shuffled && !equalJSON(got.Chains, want.Chains):
		return "chains"
	case !equalJSON(got.Conflicts, conflicts):
		return "conflicts: " + strings.Join(got.Conflicts, " ") + ", want " + strings.Join(conflicts, " ")
	case got.Waiting != 0:
		return "operations left waiting"
	}
	return ""
}

// compareReissue asks for the operations of a history issued again, some of the dots they name
// gone and some under a new name, and returns one on which the answers differ, or "".
func (p *jsPeer) compareReissue(seed uint64) string {
	pick := seeded(seed)
	names := map[string]string{}
	for i, e := range play(pick, 30).events {
		if e.op == nil {
			continue
		}
		dot := Dot{"again", uint64(i + 1)}
		again, ok := e.op.Reissue(dot, NewTime(uint64(i), 1), func(d Dot) (Dot, bool) {
			name, _ := ParseDot(names[d.String()])
			return name, name.Seq > 0
		})
		want := ""
		if ok {
			line, _, err := again.Encode()
			if err != nil {
				return err.Error()
			}
			want = string(line)
		}
		var got jsVerdict
		line := string(e.op.AppendJSON(nil))
		p.ask(map[string]any{"reissue": map[string]any{"line": line, "actor": "again", "seq": i + 1, "time": NewTime(uint64(i), 1).String(), "names": names}}, &got)
		if got.Again != want {
			return line + ": got " + got.Again + ", want " + want
		}
		switch pick(3) {
		case 0:
			names[e.op.Dot.String()] = e.op.Dot.String()
		case 1:
			names[e.op.Dot.String()] = dot.String()
		}
	}
	return ""
}

// compareLines asks for damaged lines and returns one on which the verdicts differ, or "".
func (p *jsPeer) compareLines(seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 3))
	line := goodLines[random.IntN(len(goodLines))]
	for range 4 {
		b := []byte(line)
		at := random.IntN(len(b) + 1)
		const bits = "\"\\{}[],:.-+eE019azAZ_/@$ un\x7f\x1f\u2028\u00e9"
		piece := string([]rune(bits)[random.IntN(len([]rune(bits)))])
		switch {
		case random.IntN(3) == 0 || at == len(b):
			b = append(b[:at:at], append([]byte(piece), b[at:]...)...)
		case random.IntN(2) == 0:
			b = append(b[:at:at], b[at+1:]...)
		default:
			b = append(b[:at:at], append([]byte(piece), b[at+1:]...)...)
		}
		if utf8.Valid(b) { // a JavaScript string holds nothing else
			line = string(b)
		}
		_, err := ParseOp([]byte(line))
		if got := p.line(line); got.OK != (err == nil) {
			return line
		}
	}
	return ""
}

// Generated histories and damaged lines: both implementations say the same.
func TestJavaScriptSaysTheSame(t *testing.T) {
	t.Parallel()
	n := uint64(800)
	if os.Getenv("FIREMODE_SOAK") != "" {
		n = 100_000
	}
	p := newJSPeer(t, jsModule)
	for seed := range n {
		if diff := p.compareHistory(t, seed); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		if diff := p.compareReissue(seed); diff != "" {
			t.Fatalf("seed %d: issued again: %s", seed, diff)
		}
		if line := p.compareLines(seed); line != "" {
			_, err := ParseOp([]byte(line))
			t.Fatalf("seed %d: %s: JavaScript says otherwise than %v", seed, line, err)
		}
	}
}

// The comparison finds every one of these mistakes.
func TestJavaScriptMistakesAreFound(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(jsModule)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]struct{ old, new string }{
		"nothing is replaced":           {"if (cell) o.seen.forEach((dot) => cell.delete(dot));", ""},
		"earlier first":                 {"compare(b.time, a.time) ||", "compare(a.time, b.time) ||"},
		"lesser actor first":            {"|| compareDots(b, a);", "|| compareDots(a, b);"},
		"claims count twice":            {"prints.has(o.origin) && first.get(act(o)) === o", "prints.has(o.origin)"},
		"a claim beside its origin":     {"!o.origin || !prints.has(o.origin) && first", "!o.origin || first"},
		"quarantine takes effect":       {"if (quarantine) this.#out.add(dotOf(o));\n        else", ""},
		"hidden elements show":          {"if (!hidden.has(dotOf(o))) out.push(o);", "out.push(o);"},
		"union by UTF-16":               {"sort(compareBytes)", "sort()"},
		"log backwards":                 {"vals.reverse()", "vals"},
		"numbers as floats":             {"compareNumbers(literalOf(a), literalOf(b))", "Math.sign(literalOf(b) - literalOf(a))"},
		"unknown results are fine":      {"i < 0 ? 1 : 2 * i", "i < 0 ? 99 : 2 * i"},
		"depth by one":                  {"if (depth > limits.depth)", "if (depth > limits.depth + 1)"},
		"minus zero is an integer":      {"/^(?:0|-?[1-9][0-9]{0,15})/", "/^-?(?:0|[1-9][0-9]{0,15})/"},
		"keys in any order":             {"key <= members.at(-1)[0]", "false"},
		"a redacted value stays":        {"if (o.val && named.has(dotOf(o))) this.#ops[i] = redacted(o);", ""},
		"told again it keeps its value": {"if (redactedPattern.test(o.val)) this.redact(dotOf(o));", ""},
		"prints beside their value":     {"entries = entries.filter((o) => !prints.has(o.val));", ""},
		"redaction by value alone":      {"o.val && print(o.val)", "o.val"},
		"old names are kept":            {"o.seen.map(name)", "o.seen.map((dot) => name(dot) && dot)"},
		"issued again without root":     {"origin: o.origin || o.sum", "origin: o.sum"},
		"any escape":                    {"if (this.strict && JSON.stringify(content) !== raw)", "if (false)"},
		"a chain of lines, not sums":    {"sha256(unhex(previous + op.sum))", "sha256(utf8.encode(previous + op.line))"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := bytes.Replace(source, []byte(m.old), []byte(m.new), 1)
			if bytes.Equal(broken, source) {
				t.Fatalf("%q is not in the module", m.old)
			}
			module := filepath.Join(t.TempDir(), "crdt.mjs")
			if err := os.WriteFile(module, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			p := newJSPeer(t, module)
			for _, v := range lineVectors() {
				if got := p.line(v.Line); got.OK != v.OK {
					return
				}
			}
			for seed := range uint64(1200) {
				if p.compareHistory(t, seed) != "" || p.compareLines(seed) != "" || p.compareReissue(seed) != "" {
					return
				}
			}
			t.Error("nothing was found")
		})
	}
}
