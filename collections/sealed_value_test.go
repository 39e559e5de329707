package collections

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Not parallel: it takes the sealer of the process away for a moment.
func TestWithoutASealerNothingIsReadOrWritten(t *testing.T) {
	was := installed.Load()
	installed.Store(nil)
	defer installed.Store(was)
	if _, err := (&sealedValue{token: "gAAAA"}).open("b"); !errors.Is(err, ErrNoSealer) {
		t.Errorf("open: got %v, want ErrNoSealer", err)
	}
	if _, err := (&sealedValue{plain: "x", dirty: true}).stored("b"); !errors.Is(err, ErrNoSealer) {
		t.Errorf("stored: got %v, want ErrNoSealer", err)
	}
	for _, v := range []*sealedValue{{}, {dirty: true}} { // the empty text needs no key
		plain, err := v.open("b")
		token, err2 := v.stored("b")
		if plain != "" || token != "" || err != nil || err2 != nil {
			t.Errorf("empty value: got %q, %q, %v, %v", plain, token, err, err2)
		}
	}
}

func TestSealedValuesNeverPrintTheirText(t *testing.T) {
	t.Parallel()
	v := &sealedValue{plain: "Mei Tanaka", dirty: true}
	raw, err := json.Marshal(map[string]any{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{fmt.Sprint(v), fmt.Sprintf("%s %v", v, v), fmt.Sprintf("%v", []any{v}), string(raw)} {
		if want := "Mei"; len(printed) == 0 || strings.Contains(printed, want) {
			t.Errorf("printed as %q", printed)
		}
	}
}
