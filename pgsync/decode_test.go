//go:build !race

package pgsync

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A forms table has a column of every kind.
func formsTable() *Table {
	t := &Table{Coll: "forms_id", Name: "forms", UUID: true}
	for i, k := range []Kind{KindText, KindNumber, KindInteger, KindBool, KindDate, KindJSON, KindSelect, KindRelation, KindEncrypted, KindBytes} {
		t.Columns = append(t.Columns, Column{Field: "f" + strconv.Itoa(9-i), Name: string(k), Kind: k})
	}
	return t
}

// The quick way of taking an image apart and the general one never disagree: where the quick one is sure of itself, the
// other has the same values.
func TestFlatImagesEqualOracle(t *testing.T) {
	t.Parallel()
	table := formsTable()
	r := rand.New(rand.NewPCG(3, 4))
	flat := 0
	for i := range 20_000 {
		var parts []string
		for _, c := range table.Columns {
			name := string(c.Kind)
			switch r.IntN(40) {
			case 0:
				name = "other"
			case 1:
				name = `\u0074ext` // text in disguise
			}
			parts = append(parts, strconv.Quote(name)+":"+randomJSON(r, 5))
		}
		if r.IntN(10) == 0 {
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		}
		if r.IntN(10) == 0 {
			parts = append(parts, parts[r.IntN(len(parts))][:4]+`":1`, `"text":[1]`)
		}
		img := "{" + strings.Join(parts, ",") + "}"
		if i%5 == 0 {
			img = breakText(r, img)
		}
		got, ok := table.flatValues(img)
		if !ok {
			continue
		}
		flat++
		want, err := table.anyValues([]byte(img))
		if err != nil {
			t.Fatalf("%q is no JSON, and was taken apart", img)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%q: %s is %q, want %q", img, table.Columns[i].Name, got[i], want[i])
			}
		}
	}
	if flat < 10_000 {
		t.Errorf("only %d images went the quick way", flat)
	}
}

// isUUID and isSealed are the patterns of PostgreSQL and of the ids, byte by byte.
func TestFormsEqualPatterns(t *testing.T) {
	t.Parallel()
	uuids := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	sealed := regexp.MustCompile(sealedPattern)
	r := rand.New(rand.NewPCG(5, 6))
	const id = "0192f0c1-2b3c-7d4e-8f50-616263646566"
	for _, good := range []string{id, token} {
		for range 5000 {
			text := []byte(good)
			for range r.IntN(2) {
				text[r.IntN(len(text))] = "09afgAZ-_=+/ \n\x00\xff"[r.IntN(16)]
			}
			text = text[:len(text)-r.IntN(2)*r.IntN(len(text))]
			s := string(text) + []string{"", "", "=", "==", "\n"}[r.IntN(5)]
			if got, want := isUUID(s), uuids.MatchString(s); got != want {
				t.Fatalf("%q: a UUID %v, want %v", s, got, want)
			}
			if got, want := isSealed(s), sealed.MatchString(s); got != want {
				t.Fatalf("%q: sealed %v, want %v", s, got, want)
			}
		}
	}
	if !isUUID(id) || !isSealed(token) || isSealed("gAAAA") || isSealed("gAAAA=") || isUUID("") {
		t.Error("the plain cases are wrong")
	}
}

// Numbers that skip the parser are numbers, and none of them is infinite.
func TestQuickNumbersEqualParsed(t *testing.T) {
	t.Parallel()
	c := &Column{Name: "n", Kind: KindNumber}
	for _, tc := range []struct{ raw, want string }{
		{"12.50", "12.50"}, {"-0", "-0"}, {strings.Repeat("9", 299), strings.Repeat("9", 299)}, {strings.Repeat("9", 310), "Infinity"},
		{"-1e400", "-Infinity"}, {"1e5", "1e5"},
	} {
		value := tc.raw
		if got, err := c.wire(&value); err != nil || *got != tc.want {
			t.Errorf("%s: got %v (%v), want %s", tc.raw, got, err, tc.want)
		}
	}
	for _, raw := range []string{"-", "{}", "tru"} {
		value := raw
		var bad *valueError
		if _, err := c.wire(&value); !errors.As(err, &bad) {
			t.Errorf("%s was taken for a number (%v)", raw, err)
		}
	}
}
