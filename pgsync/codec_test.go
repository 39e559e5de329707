package pgsync

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestWireForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind      Kind
		raw, want string
	}{
		{KindText, `"a\u0001ü"`, "a\x01ü"},
		{KindText, `12`, "12"},
		{KindNumber, `1.50`, "1.50"},
		{KindNumber, `9e999`, "Infinity"},
		{KindNumber, `-9e999`, "-Infinity"},
		{KindBool, `1`, "true"},
		{KindBool, `false`, "false"},
		{KindDate, `"2025-03-30 01:02:03.456Z"`, "2025-03-30T01:02:03.456000Z"},
		{KindDate, `"2025-03-30 01:02:03+11:00"`, "2025-03-29T14:02:03.000000Z"},
		{KindDate, `"2025-03-30"`, "2025-03-30T00:00:00.000000Z"},
		{KindJSON, `"{\"a\":1}"`, `{"a":1}`},
		{KindJSON, `5`, "5"}, // SQLite stores a JSON number in a JSON column as a number
		{KindEncrypted, `"` + token + `"`, token},
		{KindBytes, `"00FF"`, `\x00ff`},
		{KindDate, `""`, "NULL"},
		{KindRelation, `""`, "NULL"},
		{KindJSON, `""`, "NULL"},
		{KindText, `null`, "NULL"},
	} {
		c := &Column{Name: "c", Kind: tc.kind}
		value := tc.raw
		got, err := c.wire(&value)
		text := "NULL"
		if got != nil {
			text = *got
		}
		if err != nil || text != tc.want {
			t.Errorf("%s %s: %q, %v, want %q", tc.kind, tc.raw, text, err, tc.want)
		}
	}
	for _, tc := range []struct {
		kind       Kind
		raw, state string
	}{
		{KindText, `"a\u0000"`, "22021"},
		{KindNumber, `"x"`, "22P02"},
		{KindBool, `"true"`, "22P02"},
		{KindDate, `"2025-02-30 01:02:03Z"`, "22007"},
		{KindJSON, `"{"`, "22P02"},
		{KindEncrypted, `"0412"`, statePlaintext},
		{KindEncrypted, `"gAAAAA== and more"`, statePlaintext},
		{KindBytes, `"0"`, "22P02"},
	} {
		raw := tc.raw
		_, err := (&Column{Name: "c", Kind: tc.kind}).wire(&raw)
		var value *valueError
		if !errors.As(err, &value) || value.sqlState != tc.state {
			t.Errorf("%s %s: %v, want %s", tc.kind, tc.raw, err, tc.state)
		}
	}
}

func TestCanonicalForms(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"1", "1.0", "1e0", "0.1e1", "10E-1", "+1e+0"[1:], "001"},
		{"0", "-0", "0.00", "0e99"},
		{"1.7976931348623157e308", "17976931348623157" + strings.Repeat("0", 292)},
		{"-120", "-1.2e2", "-120.000"},
		{"Infinity"},
		{"1e99999999999999999999"},
	} {
		want := canonicalNumber(same[0])
		for _, text := range same[1:] {
			if got := canonicalNumber(text); got != want {
				t.Errorf("%s is %q, %s is %q, want the same", text, got, same[0], want)
			}
		}
	}
	for _, same := range [][]string{
		{`{"a":1,"b":[true,null,"x"]}`, ` { "b" : [ true , null, "\u0078" ], "a":1.0 } `, `{"a":2,"a":1,"b":[true,null,"x"]}`},
		{`"ü"`, `"\u00fc"`},
	} {
		want := canonicalJSON(same[0])
		for _, text := range same[1:] {
			if got := canonicalJSON(text); got != want {
				t.Errorf("%s is %q, want %q", text, got, want)
			}
		}
	}
	distinct := map[string]string{}
	for _, text := range []string{`1`, `"1"`, `[1]`, `[1,1]`, `{"a":1}`, `{"a":"1"}`, `null`, `"null"`, `{}`, `[]`, `""`, `[[]]`, `{"a":[]}`, `true`, `10`, `0.1`, `-1`} {
		c := canonicalJSON(text)
		if other, ok := distinct[c]; ok {
			t.Errorf("%s and %s have one canonical form %q", text, other, c)
		}
		distinct[c] = text
	}
}

// No two different rows may share a hash because of where one value ends and the next begins.
func TestRowHashSeparatesFields(t *testing.T) {
	t.Parallel()
	table := &Table{Coll: "c", Columns: []Column{{Field: "f1", Name: "a", Kind: KindText}, {Field: "f2", Name: "b", Kind: KindText}}}
	seen := map[string]int{}
	for i, row := range [][]cell{
		{ptr("ab"), ptr("c")}, {ptr("a"), ptr("bc")}, {ptr(""), ptr("abc")}, {nil, ptr("abc")}, {ptr("abc"), nil}, {ptr("abc"), ptr("")},
	} {
		h := string(rowHash(table, row))
		if j, ok := seen[h]; ok {
			t.Errorf("rows %d and %d have the same hash", i, j)
		}
		seen[h] = i
	}
	// Order and names of columns do not matter, field ids do.
	moved := &Table{Coll: "c", Columns: []Column{{Field: "f2", Name: "y", Kind: KindText}, {Field: "f1", Name: "x", Kind: KindText}}}
	if string(rowHash(moved, []cell{ptr("c"), ptr("ab")})) != string(rowHash(table, []cell{ptr("ab"), ptr("c")})) {
		t.Error("a rename or another order of columns changed the hash")
	}
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e3,"x\u0000"]}`, `[]`, `"\ud800"`, `1e400`, `{"a":{"a":{}}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		once := canonicalJSON(text)
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return // numbers beyond float64
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		// Whatever writes the same content in another way must not change the canonical form; float64 may round.
		if !strings.ContainsAny(text, ".eE") && len(text) < 15 && canonicalJSON(string(again)) != once {
			t.Errorf("%q: %q, after a round trip %q", text, once, canonicalJSON(string(again)))
		}
	})
}
