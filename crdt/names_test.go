package crdt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestDot(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a.1", "A_-9.9007199254740991", "11111111111111111111111111111111.2"} {
		if dot, ok := ParseDot(text); !ok || dot.String() != text {
			t.Errorf("%s: got %v, %v", text, dot, ok)
		}
	}
	for _, text := range []string{"", ".", "a", "a.", ".1", "a.0", "a.01", "a.-1", "a.+1", "a.1 ", "a.b.1", "a.9007199254740992", "a.18446744073709551617", "a.1_0", "é.1", "a.1.", "111111111111111111111111111111111.2"} {
		if dot, ok := ParseDot(text); ok {
			t.Errorf("%q: got %v, want refusal", text, dot)
		}
	}
	if (Dot{"a", 10}).Compare(Dot{"a", 9}) != 1 || (Dot{"B", 1}).Compare(Dot{"a", 1}) != -1 || (Dot{"a", 1}).Compare(Dot{"a", 1}) != 0 {
		t.Error("dots do not order by actor bytes, then by number")
	}
}

func TestVersionVector(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		v, w VersionVector
		want Ordering
	}{
		{nil, nil, Equal},
		{VersionVector{"a": 0}, nil, Equal},
		{VersionVector{"a": 1}, VersionVector{"a": 1}, Equal},
		{VersionVector{"a": 1}, VersionVector{"a": 2}, Before},
		{nil, VersionVector{"a": 2}, Before},
		{VersionVector{"a": 1, "b": 1}, VersionVector{"a": 1}, After},
		{VersionVector{"a": 1}, VersionVector{"b": 1}, Concurrent},
		{VersionVector{"a": 2, "b": 1}, VersionVector{"a": 1, "b": 2}, Concurrent},
	} {
		if got := tt.v.Compare(tt.w); got != tt.want {
			t.Errorf("%v to %v: got %v, want %v", tt.v, tt.w, got, tt.want)
		}
		back := map[Ordering]Ordering{Equal: Equal, Before: After, After: Before, Concurrent: Concurrent}[tt.want]
		if got := tt.w.Compare(tt.v); got != back {
			t.Errorf("%v to %v: got %v, want %v", tt.w, tt.v, got, back)
		}
		merged := VersionVector{}
		merged.Merge(tt.v)
		merged.Merge(tt.w)
		for _, part := range []VersionVector{tt.v, tt.w} {
			if o := part.Compare(merged); o != Before && o != Equal {
				t.Errorf("%v to the merged %v: got %v", part, merged, o)
			}
		}
	}
	v := VersionVector{"b": 2, "a": 1, "c": 0, "B": 9007199254740991}
	raw, err := json.Marshal(v)
	if want := `{"B":9007199254740991,"a":1,"b":2}`; err != nil || string(raw) != want {
		t.Errorf("JSON: got %s, %v; want %s", raw, err, want)
	}
	var back VersionVector
	if err := json.Unmarshal(raw, &back); err != nil || back.Compare(v) != Equal {
		t.Errorf("back: got %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`null`), &back); err != nil || back == nil || len(back) != 0 {
		t.Errorf("null: got %v, %v", back, err)
	}
	for _, bad := range []string{`{"a":-1}`, `{"a":1.5}`, `{"a.b":1}`, `{"":1}`, `{"a":9007199254740992}`, `{"a":"1"}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s: accepted as %v", bad, back)
		}
	}
	if !v.Has(Dot{"b", 2}) || v.Has(Dot{"b", 3}) || v.Has(Dot{"b", 0}) || v.Has(Dot{}) || v.Has(Dot{"z", 1}) {
		t.Error("Has is wrong")
	}
}

func TestPathFromPointer(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[string]string{
		"/test_result":       "test_result",
		"test_result":        "test_result",
		"/items/FE-001":      "items/FE-001",
		"/items/Level 2":     "items/Level@202",
		"/a~1b/c~0d":         "a@2Fb/c@7Ed",
		"/a@b":               "a@40b",
		"/Größe":             "Gr@C3@B6@C3@9Fe",
		"/~01":               "@7E1",
		"/2026:11:23/a.b_c-": "2026:11:23/a.b_c-",
	} {
		got, err := PathFromPointer(pointer)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", pointer, got, err, want)
		}
	}
	for _, pointer := range []string{"", "/", "//a", "/a/", "a//b", "/a\x00", string(make([]byte, 300)), "/" + fmt.Sprintf("%0257d", 1)} {
		if got, err := PathFromPointer(pointer); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %s, %v; want ErrFormat", pointer, got, err)
		}
	}
	for _, text := range []string{"", "a", "Level 2", "@", "a@20", "é/\\\"$\x00\xff"} {
		segment := EscapeSegment(text)
		if text != "" && !ValidPath(segment) {
			t.Errorf("%q: %q is no path", text, segment)
		}
		if got := UnescapeSegment(segment); got != text {
			t.Errorf("%q: came back as %q", text, got)
		}
	}
	for _, segment := range []string{"@", "@4", "@zz", "@c3", "@41", "a@"} {
		if got := UnescapeSegment(segment); got != segment {
			t.Errorf("%q: got %q, want it unchanged", segment, got)
		}
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	line := []byte(goodLines[0])
	start := ChainStart("doc", "actor")
	if start != sha256.Sum256([]byte("doc\x00actor")) {
		t.Error("ChainStart is not SHA-256 of doc, NUL, actor")
	}
	sum := sha256.Sum256(line)
	if got, want := Chain(start, line), sha256.Sum256(slices.Concat(start[:], sum[:])); got != want {
		t.Errorf("Chain: got %x, want %x", got, want)
	}
	if Chain(start, line) != ChainSum(start, mustParse(t, goodLines[0]).Sum()) {
		t.Error("Chain and ChainSum differ")
	}
	if ChainStart("a", "bc") == ChainStart("ab", "c") {
		t.Error("two pairs share a start")
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	var ops []*Op
	for i := range 5 {
		o := &Op{Dot: Dot{"a", uint64(i + 1)}, Kind: Put, Path: "p", Val: "1"}
		if i > 0 {
			o.Seen = []Dot{{"a", uint64(i)}}
		}
		ops = append(ops, o)
	}
	in := Inbox{Doc: New(), Max: 3}
	for _, o := range []*Op{ops[4], ops[3], ops[4], ops[2]} {
		if err := in.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if in.Waiting() != 3 || in.Doc.Ops() != 0 {
		t.Errorf("got %d waiting, %d applied", in.Waiting(), in.Doc.Ops())
	}
	if err := in.Add(ops[1]); !errors.Is(err, ErrInboxFull) {
		t.Errorf("full: got %v", err)
	}
	other := *ops[4]
	other.Val = "2"
	var fork *ForkError
	if err := in.Add(&other); !errors.As(err, &fork) {
		t.Errorf("fork while waiting: got %v", err)
	}
	for _, o := range ops[:2] {
		if err := in.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	if in.Waiting() != 0 || in.Doc.Ops() != 5 || in.Doc.Live() != 1 {
		t.Errorf("got %d waiting, %d applied, %d live", in.Waiting(), in.Doc.Ops(), in.Doc.Live())
	}
	if err := in.Add(&other); !errors.As(err, &fork) {
		t.Errorf("fork: got %v", err)
	}
}
