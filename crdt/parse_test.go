package crdt

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const (
	head = `{"a":"d1","k":"put","p":"items/a","s":1,"t":"0199a3f2b1c4-0000","v":`
	tail = `}`
)

// goodLines are accepted as they stand.
var goodLines = []string{
	head + `"pass"` + tail,
	head + `"pass","x":["d1.1","d2.3"]` + tail,
	head + `null` + tail,
	head + `"\u0001\u001f\b\t\n\f\r\"\\ / é"` + tail,
	"{\"a\":\"d1\",\"k\":\"put\",\"p\":\"a\",\"s\":1,\"t\":\"0199a3f2b1c4-0000\",\"v\":\"\u2028\u2029\ufeff\ufffd\U0001f525<>&/\x7f\"}",
	head + `9007199254740991` + tail,
	head + `-9007199254740991` + tail,
	head + `0` + tail,
	head + `{"a\"":[],"a\\":{},"b":[1,-2,null,true,false]}` + tail,
	head + `{"":1," ":2,"~":3}` + tail,
	head + `{"$num":"12.50"}` + tail,
	head + `[{"$num":"-0"},{"$num":"1e-3"},{"$num":"9007199254740992"},{"$num":"1E+300"},{"$num":"0.0"}]` + tail,
	head + `[[[[[1]]]]]` + tail,
	head + `[[[[[[]]]]]]` + tail,
	head + `[[[[[{"$num":"1.5"}]]]]]` + tail,
	`{"a":"d1","k":"inc","n":-4,"p":"c","s":2,"t":"0199a3f2b1c4-ffff"}`,
	`{"a":"d1","k":"inc","n":2147483648,"p":"c","s":2,"t":"ffffffffffff-0000"}`,
	`{"a":"d1","k":"inc","n":1,"o":"0123456789abcdef0123456789abcdef","p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	`{"a":"d1","k":"ins","p":"l","r":"d1.2","s":3,"t":"0199a3f2b1c4-0000","v":{"b":"é"}}`,
	`{"a":"d1","k":"ins","p":"l","s":3,"t":"0199a3f2b1c4-0000","v":1}`,
	`{"a":"d1","k":"rem","p":"l","s":9007199254740991,"t":"0199a3f2b1c4-0000","x":["d1.9007199254740991"]}`,
	`{"a":"-_aZ09","k":"rem","p":"a.b:c@d-e_f/..","s":3,"t":"0199a3f2b1c4-0000","x":["d1.1","d1.1"]}`,
}

// badLines are refused, each for the one reason in its name.
var badLines = map[string]string{
	"empty":                    ``,
	"not an object":            `[]`,
	"space before":             ` ` + head + `1` + tail,
	"space inside":             strings.Replace(head, `,"k"`, `, "k"`, 1) + `1` + tail,
	"newline after":            head + `1` + tail + "\n",
	"cut short":                head + `1`,
	"twice":                    head + `1` + tail + head + `1` + tail,
	"key order":                `{"k":"put","a":"d1","p":"items/a","s":1,"t":"0199a3f2b1c4-0000","v":1}`,
	"key twice":                head + `1,"v":1` + tail,
	"unknown key":              head + `1,"y":1` + tail,
	"actor missing":            `{"k":"put","p":"items/a","s":1,"t":"0199a3f2b1c4-0000","v":1}`,
	"actor empty":              strings.Replace(head, `"d1"`, `""`, 1) + `1` + tail,
	"actor with dot":           strings.Replace(head, `"d1"`, `"d.1"`, 1) + `1` + tail,
	"actor with U+2028":        strings.Replace(head, `"d1"`, "\"d\u2028\"", 1) + `1` + tail,
	"actor escaped":            strings.Replace(head, `"d1"`, `"\u0064"`, 1) + `1` + tail,
	"actor too long":           strings.Replace(head, `"d1"`, `"`+strings.Repeat("d", 33)+`"`, 1) + `1` + tail,
	"kind unknown":             strings.Replace(head, `"put"`, `"set"`, 1) + `1` + tail,
	"kind in capitals":         strings.Replace(head, `"put"`, `"PUT"`, 1) + `1` + tail,
	"path empty":               strings.Replace(head, `items/a`, ``, 1) + `1` + tail,
	"path with empty segment":  strings.Replace(head, `items/a`, `items//a`, 1) + `1` + tail,
	"path ends in slash":       strings.Replace(head, `items/a`, `items/`, 1) + `1` + tail,
	"path begins with slash":   strings.Replace(head, `items/a`, `/items`, 1) + `1` + tail,
	"path with space":          strings.Replace(head, `items/a`, `items a`, 1) + `1` + tail,
	"path with NUL":            strings.Replace(head, `items/a`, "items\x00a", 1) + `1` + tail,
	"path with escaped NUL":    strings.Replace(head, `items/a`, `items\u0000`, 1) + `1` + tail,
	"path with dollar":         strings.Replace(head, `items/a`, `$value`, 1) + `1` + tail,
	"path too long":            strings.Replace(head, `items/a`, strings.Repeat("p", 257), 1) + `1` + tail,
	"seq zero":                 strings.Replace(head, `"s":1`, `"s":0`, 1) + `1` + tail,
	"seq negative":             strings.Replace(head, `"s":1`, `"s":-1`, 1) + `1` + tail,
	"seq as string":            strings.Replace(head, `"s":1`, `"s":"1"`, 1) + `1` + tail,
	"seq with leading zero":    strings.Replace(head, `"s":1`, `"s":01`, 1) + `1` + tail,
	"seq as float":             strings.Replace(head, `"s":1`, `"s":1.0`, 1) + `1` + tail,
	"seq with exponent":        strings.Replace(head, `"s":1`, `"s":1e0`, 1) + `1` + tail,
	"seq above 2^53-1":         strings.Replace(head, `"s":1`, `"s":9007199254740992`, 1) + `1` + tail,
	"seq above 2^64":           strings.Replace(head, `"s":1`, `"s":18446744073709551617`, 1) + `1` + tail,
	"time in capitals":         strings.Replace(head, `0199a3f2b1c4-0000`, `0199A3F2B1C4-0000`, 1) + `1` + tail,
	"time short":               strings.Replace(head, `0199a3f2b1c4-0000`, `0199a3f2b1c4-000`, 1) + `1` + tail,
	"time without hyphen":      strings.Replace(head, `0199a3f2b1c4-0000`, `0199a3f2b1c40-000`, 1) + `1` + tail,
	"value missing":            `{"a":"d1","k":"put","p":"items/a","s":1,"t":"0199a3f2b1c4-0000"}`,
	"value of rem":             `{"a":"d1","k":"rem","p":"l","s":3,"t":"0199a3f2b1c4-0000","v":1,"x":["d1.1"]}`,
	"rem without seen":         `{"a":"d1","k":"rem","p":"l","s":3,"t":"0199a3f2b1c4-0000"}`,
	"seen empty":               head + `1,"x":[]` + tail,
	"seen null":                head + `1,"x":null` + tail,
	"seen no array":            head + `1,"x":"d1.1"` + tail,
	"seen without actor":       head + `1,"x":[".1"]` + tail,
	"seen without seq":         head + `1,"x":["d1."]` + tail,
	"seen seq zero":            head + `1,"x":["d1.0"]` + tail,
	"seen seq leading zero":    head + `1,"x":["d1.01"]` + tail,
	"seen seq signed":          head + `1,"x":["d1.+1"]` + tail,
	"seen seq too large":       head + `1,"x":["d1.9007199254740992"]` + tail,
	"seen comma at end":        head + `1,"x":["d1.1",]` + tail,
	"seen of inc":              `{"a":"d1","k":"inc","n":1,"p":"c","s":2,"t":"0199a3f2b1c4-0000","x":["d1.1"]}`,
	"increment zero":           `{"a":"d1","k":"inc","n":0,"p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	"increment minus zero":     `{"a":"d1","k":"inc","n":-0,"p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	"increment too large":      `{"a":"d1","k":"inc","n":2147483649,"p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	"increment too small":      `{"a":"d1","k":"inc","n":-2147483649,"p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	"increment of put":         `{"a":"d1","k":"put","n":1,"p":"c","s":2,"t":"0199a3f2b1c4-0000","v":1}`,
	"reference of put":         `{"a":"d1","k":"put","p":"c","r":"d1.1","s":2,"t":"0199a3f2b1c4-0000","v":1}`,
	"reference bad":            `{"a":"d1","k":"ins","p":"l","r":"d1","s":3,"t":"0199a3f2b1c4-0000","v":1}`,
	"origin short":             `{"a":"d1","k":"inc","n":1,"o":"0123","p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	"origin in capitals":       `{"a":"d1","k":"inc","n":1,"o":"0123456789ABCDEF0123456789abcdef","p":"c","s":2,"t":"0199a3f2b1c4-0000"}`,
	"origin after path":        `{"a":"d1","k":"inc","n":1,"p":"c","o":"0123456789abcdef0123456789abcdef","s":2,"t":"0199a3f2b1c4-0000"}`,
	"float":                    head + `1.5` + tail,
	"exponent":                 head + `1e3` + tail,
	"minus zero":               head + `-0` + tail,
	"plus":                     head + `+1` + tail,
	"leading zero":             head + `01` + tail,
	"integer too large":        head + `9007199254740992` + tail,
	"integer far too large":    head + `99999999999999999999999999` + tail,
	"NaN":                      head + `NaN` + tail,
	"word in capitals":         head + `True` + tail,
	"NUL escaped":              head + `"\u0000"` + tail,
	"NUL raw":                  head + "\"\x00\"" + tail,
	"control raw":              head + "\"\x1f\"" + tail,
	"newline raw":              head + "\"\n\"" + tail,
	"newline long":             head + `"\u000a"` + tail,
	"escape in capitals":       head + `"\u001F"` + tail,
	"escaped slash":            head + `"\/"` + tail,
	"escaped letter":           head + `"\u0061"` + tail,
	"escaped U+2028":           head + `"\u2028"` + tail,
	"escaped less-than":        head + `"\u003c"` + tail,
	"escape unknown":           head + `"\x41"` + tail,
	"escape cut":               head + `"\u00`,
	"lone high surrogate":      head + `"\ud800"` + tail,
	"lone low surrogate":       head + `"\udc00"` + tail,
	"surrogate pair escaped":   head + `"\ud83d\ude00"` + tail,
	"surrogate in UTF-8":       head + "\"\xed\xa0\x80\"" + tail,
	"invalid UTF-8":            head + "\"\xff\"" + tail,
	"overlong UTF-8":           head + "\"\xc0\x80\"" + tail,
	"UTF-8 cut":                head + "\"\xe2\x80\"" + tail,
	"byte order mark":          "\ufeff" + head + `1` + tail,
	"keys unsorted":            head + `{"b":1,"a":2}` + tail,
	"keys equal":               head + `{"a":1,"a":1}` + tail,
	"keys sorted as escaped":   head + `{"[":1,"\"":2}` + tail,
	"key not ASCII":            head + `{"é":1}` + tail,
	"key with control":         head + `{"\n":1}` + tail,
	"key with DEL":             head + "{\"\x7f\":1}" + tail,
	"key a number":             head + `{1:1}` + tail,
	"comma at end of object":   head + `{"a":1,}` + tail,
	"comma at end of array":    head + `[1,]` + tail,
	"array not closed":         head + `[1` + tail,
	"space in array":           head + `[1, 2]` + tail,
	"nested too deep":          head + `[[[[[[1]]]]]]` + tail,
	"empty nested too deep":    head + `[[[[[[[]]]]]]]` + tail,
	"tagged integer":           head + `{"$num":"12"}` + tail,
	"tagged zero":              head + `{"$num":"0"}` + tail,
	"tagged text":              head + `{"$num":"twelve"}` + tail,
	"tagged empty":             head + `{"$num":""}` + tail,
	"tagged number bare":       head + `{"$num":12.5}` + tail,
	"tagged leading zero":      head + `{"$num":"01.5"}` + tail,
	"tagged point at end":      head + `{"$num":"1."}` + tail,
	"tagged point at start":    head + `{"$num":".5"}` + tail,
	"tagged plus":              head + `{"$num":"+1.5"}` + tail,
	"tagged hexadecimal":       head + `{"$num":"0x1p4"}` + tail,
	"tagged infinity":          head + `{"$num":"1e400"}` + tail,
	"tagged exponent far away": head + `{"$num":"0e99999999999999999999"}` + tail,
	"tagged too long":          head + `{"$num":"0.` + strings.Repeat("1", 255) + `"}` + tail,
	"tagged and more":          head + `{"$num":"1.5","a":1}` + tail,
	"tagged after others":      head + `{"!":1,"$num":"1.5"}` + tail,
	"line too long":            head + `"` + strings.Repeat("x", 131072) + `"` + tail,
	"value too long":           head + `"` + strings.Repeat("x", 16384) + `"` + tail,
}

func TestParseOpAccepts(t *testing.T) {
	t.Parallel()
	for _, line := range goodLines {
		o, err := ParseOp([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := string(o.AppendJSON(nil)); got != line {
			t.Errorf("round trip: got %s, want %s", got, line)
		}
		if err := o.Check(); err != nil {
			t.Errorf("%s: Check: %v", line, err)
		}
	}
}

func TestParseOpRefuses(t *testing.T) {
	t.Parallel()
	for name, line := range badLines {
		_, err := ParseOp([]byte(line))
		var format *FormatError
		if !errors.Is(err, ErrFormat) || !errors.As(err, &format) || format.Reason == "" {
			t.Errorf("%s: got %v, want a *FormatError", name, err)
		}
		if _, err := slowParse([]byte(line)); err == nil {
			t.Errorf("%s: the slow reader accepts it", name)
		}
	}
}

// TestParseOpEveryByte changes, drops and doubles every byte of every good line and holds
// the two readers against each other.
func TestParseOpEveryByte(t *testing.T) {
	t.Parallel()
	for _, line := range goodLines {
		for i := range len(line) {
			for _, c := range []byte("\"\\{]:,.-e01u \x00\x80") {
				compareReaders(t, []byte(line[:i]+string([]byte{c})+line[i+1:]))
				compareReaders(t, []byte(line[:i]+string([]byte{c})+line[i:]))
			}
			compareReaders(t, []byte(line[:i]+line[i+1:]))
			compareReaders(t, []byte(line[:i]))
		}
	}
}

// compareReaders fails if ParseOp and slowParse differ about a line, or if what is accepted
// is not written back byte for byte.
func compareReaders(t testing.TB, line []byte) {
	t.Helper()
	fast, fastErr := ParseOp(line)
	slow, slowErr := slowParse(line)
	if (fastErr == nil) != (slowErr == nil) {
		t.Fatalf("%q: ParseOp: %v; slow reader: %v", line, fastErr, slowErr)
	}
	if fastErr != nil {
		if !errors.Is(fastErr, ErrFormat) {
			t.Fatalf("%q: got %v, want ErrFormat", line, fastErr)
		}
		return
	}
	if got := fast.AppendJSON(nil); !bytes.Equal(got, line) {
		t.Fatalf("%q: written back as %q", line, got)
	}
	slow.parsed, slow.sum = fast.parsed, fast.sum
	if !reflect.DeepEqual(fast, slow) {
		t.Fatalf("%q: ParseOp %+v; slow reader %+v", line, fast, slow)
	}
}

func TestLimitsAtTheEdge(t *testing.T) {
	t.Parallel()
	room := OpMaxBytes - len(head) - len(`""`) - len(tail)
	dots := func(n int) string {
		return `,"x":["` + strings.Repeat(`d1.1","`, n-1) + `d1.1"]`
	}
	for _, tt := range []struct {
		name string
		line string
		ok   bool
	}{
		{"16 KiB", head + `"` + strings.Repeat("x", room) + `"` + tail, true},
		{"one more", head + `"` + strings.Repeat("x", room+1) + `"` + tail, false},
		{"16 KiB and a seen list", head + `"` + strings.Repeat("x", room) + `"` + dots(4000) + tail, true},
		{"one more and a seen list", head + `"` + strings.Repeat("x", room+1) + `"` + dots(4000) + tail, false},
		{"4096 seen", head + `1` + dots(4096) + tail, true},
		{"4097 seen", head + `1` + dots(4097) + tail, false},
		{"path of 256", strings.Replace(head, "items/a", strings.Repeat("p", 256), 1) + `1` + tail, true},
		{"actor of 32", strings.Replace(head, "d1", strings.Repeat("d", 32), 1) + `1` + tail, true},
		{"128 KiB", longSeen(t, LineMaxBytes), true},
		{"128 KiB and one", longSeen(t, LineMaxBytes+1), false},
	} {
		_, err := ParseOp([]byte(tt.line))
		if got := err == nil; got != tt.ok {
			t.Errorf("%s: got %v, want ok %v", tt.name, err, tt.ok)
		}
		compareReaders(t, []byte(tt.line))
	}
}

// longSeen returns a line of exactly size bytes, most of it seen list.
func longSeen(t testing.TB, size int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`,"x":["`)
	long := strings.Repeat("a", 32)
	for b.Len() < size-OpMaxBytes/2 {
		fmt.Fprintf(&b, `%s.1000000000000","`, long)
	}
	b.WriteString(`d1.1"]`)
	line := head + `"` + strings.Repeat("x", size-len(head)-len(`""`)-b.Len()-len(tail)) + `"` + b.String() + tail
	if len(line) != size {
		t.Fatalf("got %d bytes, want %d", len(line), size)
	}
	return line
}

func TestEncodeRefusesWhatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	good := Op{Dot: Dot{"d1", 1}, Kind: Put, Path: "a", Val: "1"}
	for name, change := range map[string]func(*Op){
		"quote in actor":    func(o *Op) { o.Actor = `d1","k":"put","p":"b","s":1,"t":"000000000000-0000","v":2}` },
		"seen list in Val":  func(o *Op) { o.Val = `1,"x":["d1.1"]` },
		"kind zero":         func(o *Op) { o.Kind = 0 },
		"seq zero":          func(o *Op) { o.Seq = 0 },
		"increment of put":  func(o *Op) { o.N = 1 },
		"reference of put":  func(o *Op) { o.Ref = Dot{"d1", 1} },
		"value of inc":      func(o *Op) { o.Kind, o.N = Inc, 1 },
		"value of rem":      func(o *Op) { o.Kind, o.Seen = Rem, []Dot{{"d1", 1}} },
		"rem without seen":  func(o *Op) { o.Kind, o.Val = Rem, "" },
		"no value":          func(o *Op) { o.Val = "" },
		"value not compact": func(o *Op) { o.Val = "[1, 2]" },
		"origin":            func(o *Op) { o.Origin = "x" },
	} {
		o := good
		change(&o)
		if err := o.Check(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
	line, parsed, err := good.Encode()
	if err != nil || string(line) != `{"a":"d1","k":"put","p":"a","s":1,"t":"000000000000-0000","v":1}` || parsed.Sum() != good.Sum() {
		t.Errorf("Encode: got %s, %v", line, err)
	}
}
