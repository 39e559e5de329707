package pgsync

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The canonical form as it can be said in a few lines of encoding/json. The one that is used is ten times faster and must
// give the very same bytes, which are in every stored hash.

// oracleNumber trusts bigNumber: the long way is the plain one.
func oracleNumber(text string) string { return bigNumber(text) }

// oracleQuote is encoding/json without the escapes that it makes for HTML and JavaScript alone.
func oracleQuote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err.Error()
	}
	return strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
}

func oracleJSON(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || !json.Valid([]byte(text)) {
		return text
	}
	var b bytes.Buffer
	oracleAppend(&b, v)
	return b.String()
}

func oracleAppend(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for _, k := range keys {
			b.WriteString(oracleQuote(k))
			b.WriteByte(':')
			oracleAppend(b, v[k])
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for _, x := range v {
			oracleAppend(b, x)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case string:
		b.WriteString(oracleQuote(v))
	case json.Number:
		b.WriteString(oracleNumber(v.String()))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	default:
		b.WriteString("null")
	}
}

func canonicalNumber(text string) string { return string(appendNumber(nil, text)) }

func canonicalJSON(text string) string {
	var c canonicalizer
	return string(c.appendJSON(nil, text))
}

// randomJSON writes a value with everything that JSON allows and few writers use.
func randomJSON(r *rand.Rand, depth int) string {
	space := func() string { return []string{"", "", "", " ", "\n\t", "\r "}[r.IntN(6)] }
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	kind := r.IntN(8)
	if depth > 4 {
		kind = r.IntN(6)
	}
	switch kind {
	case 0:
		return pick("true", "false", "null")
	case 1, 2:
		return randomNumber(r)
	case 6, 7:
		var parts []string
		for range r.IntN(6) {
			part := space() + randomJSON(r, depth+1) + space()
			if kind == 6 {
				part = space() + randomString(r, 3) + space() + ":" + part
			}
			parts = append(parts, part)
		}
		if kind == 6 {
			return "{" + strings.Join(parts, ",") + space() + "}"
		}
		return "[" + strings.Join(parts, ",") + space() + "]"
	}
	return randomString(r, 12)
}

func randomString(r *rand.Rand, most int) string {
	var b strings.Builder
	b.WriteByte('"')
	for range r.IntN(most) {
		b.WriteString([]string{
			"a", "b", "Z", "0", "~", "ü", "Ж", "\u00a0", "\u2028", `\u2029`, `\u0001`, `\u001f`, "😀", "\x7f", `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`,
			`\u0000`, `\u0041`, `\u00fC`, `\ud83d\ude00`, `\ud83d`, `\ude00`, `\ud83dx`, `\ud83d\n`, `\ufffd`, "\xff", "\xc3",
		}[r.IntN(33)])
	}
	b.WriteByte('"')
	return b.String()
}

func randomNumber(r *rand.Rand) string {
	digits := func(most int) string {
		var b strings.Builder
		for range 1 + r.IntN(most) {
			b.WriteByte("0001234567890"[r.IntN(13)])
		}
		return b.String()
	}
	text := []string{"", "-"}[r.IntN(2)] + []string{"0", "1" + digits(20), strconv.Itoa(r.IntN(100))}[r.IntN(3)]
	if r.IntN(2) == 0 {
		text += "." + digits(20)
	}
	if r.IntN(3) == 0 {
		text += []string{"e", "E"}[r.IntN(2)] + []string{"", "+", "-"}[r.IntN(3)] + digits(22)
	}
	return text
}

// The fast form is the plain one, for any text: sound, and broken at any place.
func TestCanonicalFormEqualsOracle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var c canonicalizer
	valid := 0
	for i := range 60_000 {
		text := randomJSON(r, 0)
		if i%4 == 0 {
			text = breakText(r, text)
		}
		if json.Valid([]byte(text)) {
			valid++
		}
		if got, want := isJSON(text), json.Valid([]byte(text)); got != want {
			t.Fatalf("%q: is JSON %v, want %v", text, got, want)
		}
		if got, want := string(c.appendJSON([]byte("kept"), text)), "kept"+oracleJSON(text); got != want {
			t.Fatalf("%q:\ngot  %s\nwant %s", text, got, want)
		}
		number := randomNumber(r)
		if i%4 == 0 {
			number = breakText(r, number)
		}
		if got, want := canonicalNumber(number), oracleNumber(number); got != want {
			t.Fatalf("%q: got %s, want %s", number, got, want)
		}
	}
	if valid < 40_000 || valid == 60_000 {
		t.Errorf("%d of 60000 texts were JSON: the test does not see both kinds", valid)
	}
	for _, depth := range []int{jsonDepthMax - 1, jsonDepthMax, jsonDepthMax + 1} {
		for _, text := range []string{strings.Repeat("[", depth) + strings.Repeat("]", depth), strings.Repeat(`{"":`, depth) + "1" + strings.Repeat("}", depth)} {
			if isJSON(text) != json.Valid([]byte(text)) || canonicalJSON(text) != oracleJSON(text) {
				t.Errorf("another form at depth %d", depth)
			}
		}
	}
}

func breakText(r *rand.Rand, text string) string {
	if text == "" {
		return text
	}
	at := r.IntN(len(text))
	switch r.IntN(3) {
	case 0:
		return text[:at]
	case 1:
		return text[:at] + string(rune(r.IntN(128))) + text[at+1:]
	}
	return text + []string{"x", "1", " ", "}", ","}[r.IntN(5)]
}

// The common row costs its hash and nothing else.
func TestCanonicalFormDoesNotAllocate(t *testing.T) {
	text := `{"status":"open","notes":["checked","ü"],"reading":{"value":12.50,"unit":"kPa"},"n":[1,2,-3.5e2]}`
	var c canonicalizer
	buf := c.appendJSON(nil, text)
	if n := testing.AllocsPerRun(100, func() { buf = c.appendJSON(buf[:0], text) }); n > 0 {
		t.Errorf("a JSON value costs %v allocations, want none", n)
	}
	if n := testing.AllocsPerRun(100, func() { buf = appendNumber(buf[:0], "-1234.500") }); n > 0 {
		t.Errorf("a number costs %v allocations, want none", n)
	}
}

func BenchmarkCanonicalJSON(b *testing.B) {
	text := fmt.Sprintf(`{"k":17,"text":"%s","tags":["x","z"],"nested":{"b":1.50,"a":null}}`, strings.Repeat("abcdef01", 50))
	b.Run("own", func(b *testing.B) {
		var c canonicalizer
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf = c.appendJSON(buf[:0], text)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			oracleJSON(text)
		}
	})
}
