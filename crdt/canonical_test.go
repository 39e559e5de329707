package crdt

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCanonicalJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ raw, want, rendered string }{
		{`null`, `null`, `null`},
		{" \t\r\n true \n", `true`, `true`},
		{`"pass"`, `"pass"`, `"pass"`},
		{`"\u0061\/\u00e9\ud83d\ude00\u2028<"`, "\"a/é😀\u2028<\"", "\"a/é😀\u2028<\""},
		{`"\u000A\u001F\u0008\u007F"`, "\"\\n\\u001f\\b\x7f\"", "\"\\n\\u001f\\b\x7f\""},
		{`0`, `0`, `0`},
		{`-7`, `-7`, `-7`},
		{`9007199254740991`, `9007199254740991`, `9007199254740991`},
		{`9007199254740993`, `{"$num":"9007199254740993"}`, `9007199254740993`},
		{`123456789012345678901234567890`, `{"$num":"123456789012345678901234567890"}`, `123456789012345678901234567890`},
		{`12.50`, `{"$num":"12.50"}`, `12.50`},
		{`1e-3`, `{"$num":"1e-3"}`, `1e-3`},
		{`1E+3`, `{"$num":"1E+3"}`, `1E+3`},
		{`-0`, `{"$num":"-0"}`, `-0`},
		{`1.0`, `{"$num":"1.0"}`, `1.0`},
		{`0.1000000000000000055511151231257827`, `{"$num":"0.1000000000000000055511151231257827"}`, `0.1000000000000000055511151231257827`},
		{`{"$num":"12.50"}`, `{"$num":"12.50"}`, `12.50`},
		{` { "$num" : "12.50" } `, `{"$num":"12.50"}`, `12.50`},
		{`{"b":1,"a":[1.5,{"d":2.5,"c":{}}]}`, `{"a":[{"$num":"1.5"},{"c":{},"d":{"$num":"2.5"}}],"b":1}`, `{"a":[1.5,{"c":{},"d":2.5}],"b":1}`},
		{`{"Z":1,"a":2,"_":3,"\"":4,"\\":5}`, `{"\"":4,"Z":1,"\\":5,"_":3,"a":2}`, `{"\"":4,"Z":1,"\\":5,"_":3,"a":2}`},
		{`"{\"$num\":\"1.5\"}"`, `"{\"$num\":\"1.5\"}"`, `"{\"$num\":\"1.5\"}"`},
		{`[ ]`, `[]`, `[]`},
		{`[[[[[[ ]]]]]]`, `[[[[[[]]]]]]`, `[[[[[[]]]]]]`},
		{`[[[[[1.5]]]]]`, `[[[[[{"$num":"1.5"}]]]]]`, `[[[[[1.5]]]]]`},
	} {
		got, err := CanonicalJSON([]byte(tt.raw))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.raw, got, err, tt.want)
			continue
		}
		if rendered := string(RenderJSON(string(got))); rendered != tt.rendered {
			t.Errorf("%s: rendered %s, want %s", tt.raw, rendered, tt.rendered)
		}
		checkCanonical(t, []byte(tt.raw))
		if _, err := ParseOp([]byte(head + string(got) + tail)); err != nil {
			t.Errorf("%s: not accepted in a line: %v", got, err)
		}
	}
}

func TestCanonicalJSONRefuses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"empty":                ``,
		"space only":           ` `,
		"two values":           `1 2`,
		"lone high surrogate":  `"\ud800"`,
		"lone low surrogate":   `"\udc00"`,
		"surrogates swapped":   `"\udc00\ud800"`,
		"high then letter":     `"\ud800\u0041"`,
		"high then cut":        `"\ud800\u"`,
		"invalid UTF-8":        "\"\xff\"",
		"NUL escaped":          `"\u0000"`,
		"NUL raw":              "\"\x00\"",
		"NUL in key":           `{"\u0000":1}`,
		"control raw":          "\"\n\"",
		"escape unknown":       `"\x"`,
		"escape not hex":       `"\u00g0"`,
		"escape signed":        `"\u+041"`,
		"string open":          `"a`,
		"key twice":            `{"a":1,"a":1}`,
		"key twice apart":      `{"b":1,"a":1,"b":2}`,
		"key twice by escape":  `{"a":1,"\u0061":1}`,
		"key not ASCII":        `{"ü":1}`,
		"key missing":          `{:1}`,
		"colon missing":        `{"a" 1}`,
		"comma at end":         `[1,]`,
		"comma at end, object": `{"a":1,}`,
		"leading zero":         `01`,
		"point at end":         `1.`,
		"exponent empty":       `1e`,
		"plus":                 `+1`,
		"infinity":             `1e400`,
		"minus infinity":       `-1e999`,
		"exponent far away":    `1e-1001`,
		"number long":          `0.` + strings.Repeat("1", 255),
		"NaN":                  `NaN`,
		"word":                 `nul`,
		"word continued":       `nulll`,
		"nested too deep":      `[[[[[[1]]]]]]`,
		"very deep":            strings.Repeat("[", 100000),
		"tag with integer":     `{"$num":"5"}`,
		"tag with number":      `{"$num":1.5}`,
		"tag and more":         `{"$num":"1.5","a":1}`,
		"more and tag":         `{"a":1,"$num":"1.5"}`,
		"tag with text":        `{"$num":"x"}`,
		"too large":            `"` + strings.Repeat("x", OpMaxBytes) + `"`,
		"source too large":     strings.Repeat(" ", LineMaxBytes) + `1`,
	} {
		got, err := CanonicalJSON([]byte(raw))
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %.50s, %v; want ErrFormat", name, got, err)
		}
	}
}

// checkCanonical holds CanonicalJSON against encoding/json for one input.
func checkCanonical(t testing.TB, raw []byte) {
	t.Helper()
	got, err := CanonicalJSON(raw)
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("%q: got %v, want ErrFormat", raw, err)
		}
		if faithful(raw) {
			t.Fatalf("%q: refused: %v", raw, err)
		}
		return
	}
	again, err := CanonicalJSON(got)
	if err != nil || !bytes.Equal(again, got) {
		t.Fatalf("%q: %q is not stable: %q, %v", raw, got, again, err)
	}
	p := scanner{s: string(got)}
	if reason := p.value(1); reason != "" || p.i != len(got) {
		t.Fatalf("%q: %q is not canonical: %s", raw, got, reason)
	}
	want, rendered := decodeTagged(t, raw), decodeTagged(t, RenderJSON(string(got)))
	if !reflect.DeepEqual(want, rendered) {
		t.Fatalf("%q: means %v, rendered %v", raw, want, rendered)
	}
	if again, err := AppendValue(nil, want); err != nil || !bytes.Equal(again, got) {
		t.Fatalf("%q: AppendValue: got %q, %v; want %q", raw, again, err, got)
	}
}

// decodeTagged decodes JSON with numbers as literals, tagged ones included.
func decodeTagged(t testing.TB, raw []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return untag(v)
}

func untag(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = untag(x[i])
		}
	case map[string]any:
		if literal, ok := x[numKey].(string); ok && len(x) == 1 {
			return json.Number(literal)
		}
		for k := range x {
			x[k] = untag(x[k])
		}
	}
	return v
}

// faithful reports JSON that has to be accepted. It errs on the side of false.
func faithful(raw []byte) bool {
	lower := bytes.ToLower(raw)
	if !json.Valid(raw) || !utf8.Valid(raw) || len(raw) > OpMaxBytes/32 ||
		bytes.Contains(lower, []byte(`\ud`)) || bytes.Contains(raw, []byte(`\u0000`)) || bytes.Contains(raw, []byte(`num`)) {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	type level struct {
		keys  map[string]bool // nil in an array
		isKey bool
	}
	var stack []level
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return true
		}
		top := len(stack) - 1
		if s, ok := token.(string); ok && top >= 0 && stack[top].isKey {
			if stack[top].keys[s] || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				return false
			}
			stack[top].keys[s], stack[top].isKey = true, false
			continue
		}
		if token != json.Delim('}') && token != json.Delim(']') && len(stack)+1 > DepthMax {
			return false
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}, isKey: true})
			continue
		case json.Delim('['):
			stack = append(stack, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		}
		if n, ok := token.(json.Number); ok {
			if _, err := n.Float64(); err != nil || len(n) > 20 {
				return false
			}
		}
		if top = len(stack) - 1; top >= 0 && stack[top].keys != nil {
			stack[top].isKey = true
		}
	}
}

func TestAppendValue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		v    any
		want string
	}{
		{nil, `null`},
		{true, `true`},
		{-3, `-3`},
		{int64(1) << 53, `{"$num":"9007199254740992"}`},
		{uint64(1<<64 - 1), `{"$num":"18446744073709551615"}`},
		{json.Number("12.50"), `{"$num":"12.50"}`},
		{json.Number("12"), `12`},
		{json.RawMessage(` {"b":1.5,"a":2}`), `{"a":2,"b":{"$num":"1.5"}}`},
		{map[string]any{"b": []any{1, "x"}, "a": nil}, `{"a":null,"b":[1,"x"]}`},
		{map[string]any{"$num": "1.50"}, `{"$num":"1.50"}`},
	} {
		got, err := AppendValue([]byte("x"), tt.v)
		if err != nil || string(got) != "x"+tt.want {
			t.Errorf("%v: got %s, %v; want x%s", tt.v, got, err, tt.want)
		}
	}
	deep := any(1)
	for range DepthMax {
		deep = []any{deep}
	}
	for _, v := range []any{
		1.5, float64(1), float32(1), struct{}{}, "\xff", "a\x00", json.Number("x"), json.Number("1e999"), deep,
		json.RawMessage(`1 2`), json.RawMessage(``), []any{json.RawMessage(`[[[[[1]]]]]`)},
		map[string]any{"é": 1}, map[string]any{"$num": 5}, map[string]any{"$num": "1.5", "a": 1}, strings.Repeat("x", OpMaxBytes),
	} {
		if got, err := AppendValue([]byte("x"), v); !errors.Is(err, ErrFormat) || string(got) != "x" {
			t.Errorf("%.40v: got %s, %v; want x, ErrFormat", v, got, err)
		}
	}
}

func TestCompareNumbers(t *testing.T) {
	t.Parallel()
	// Each list is one value; the lists ascend.
	ascending := [][]string{
		{"-1e300"}, {"-12.51"}, {"-12.5", "-12.50", "-1.25e1"}, {"-12"}, {"-0.001", "-1e-3"}, {"0", "-0", "0.00", "0e5"},
		{"1e-300"}, {"0.001", "1e-3", "10E-4"}, {"0.0010000000000000000000001"}, {"1", "1.0", "0.1e1", "10e-1"},
		{"9.99"}, {"10", "1e1"}, {"9007199254740992"}, {"9007199254740993"}, {"1e300"},
	}
	for i, a := range ascending {
		for j, b := range ascending {
			for _, x := range a {
				for _, y := range b {
					if got, want := sign(compareNumbers(x, y)), sign(i-j); got != want {
						t.Errorf("compareNumbers(%s, %s): got %d, want %d", x, y, got, want)
					}
				}
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
