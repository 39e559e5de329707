package merge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// exported is the log of a session that holds every flag an operation may have but late.
func exported(t *testing.T) (s *Service, id string, file []byte) {
	t.Helper()
	s, app := service(t, Config{})
	id = session(t, app)
	revoked(t, s, app, id)
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Device: "phone", Changes: []Change{set("items/A/result", `"pass"`)}, Reason: "seen"})
	return s, id, export(t, s, id)
}

func export(t testing.TB, s *Service, id string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Export(context.Background(), id, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// faulty fails the test unless reading content names a line for the reason.
func faulty(t *testing.T, what string, content []byte, line int, reason string) {
	t.Helper()
	var fault *LogFileError
	err := ReadLogFile(bytes.NewReader(content), LogVisitor{})
	if !errors.As(err, &fault) || fault.LineNumber < 1 || line > 0 && fault.LineNumber != line || !strings.Contains(fault.Reason, reason) {
		t.Errorf("%s: got %v, want line %d: %s", what, err, line, reason)
	}
}

// No byte of a log file can be flipped, left out or doubled unnoticed.
func TestLogFileNoticesEveryByte(t *testing.T) {
	t.Parallel()
	_, _, file := exported(t)
	if err := ReadLogFile(bytes.NewReader(file), LogVisitor{}); err != nil {
		t.Fatalf("the file as it was written: %v", err)
	}
	// Bit 5 turns letters into capitals, which JSON decoders take for the same name.
	bits, every := []int{0, 5}, 7
	if os.Getenv("FIREMODE_SOAK") != "" {
		bits, every = []int{0, 1, 2, 3, 4, 5, 6, 7}, 1
	}
	for i := range file {
		at := fmt.Sprintf("byte %d (%q) ", i, file[max(0, i-10):i+1])
		for _, bit := range bits {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << bit
			faulty(t, at+"flipped", flipped, 0, "")
		}
		if i%every != 0 {
			continue // the rest would only be slower
		}
		faulty(t, at+"left out", append(bytes.Clone(file[:i]), file[i+1:]...), 0, "")
		faulty(t, at+"doubled", append(bytes.Clone(file[:i+1]), file[i:]...), 0, "")
		faulty(t, at+"at the end", file[:i], 0, "")
	}
}

// resummed is the lines with an end line that fits them, as somebody would make it who
// means to deceive.
func resummed(lines ...string) []byte {
	body := strings.Join(lines, "\n") + "\n"
	sum := sha256.Sum256([]byte(body))
	return fmt.Appendf([]byte(body), `{"end":%d,"sha256":"%s"}`+"\n", len(lines)-1, hex.EncodeToString(sum[:]))
}

// What the sum does not tell, the form, the chains and the digest do.
func TestLogFileHoldsWithoutItsSum(t *testing.T) {
	t.Parallel()
	s, id, file := exported(t)
	lines := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	lines = lines[:len(lines)-1]
	if err := ReadLogFile(bytes.NewReader(resummed(lines...)), LogVisitor{}); err != nil {
		t.Fatalf("the file with a sum made here: %v", err)
	}
	// Another session of the same device: its lines are those of an author of the header.
	app := s.app
	elsewhere := session(t, app)
	change(t, s, ChangeRequest{SessionID: elsewhere, UserID: "ben", Device: "phone", Changes: []Change{set("items/A/result", `"fail"`)}})
	foreign := strings.Split(string(export(t, s, elsewhere)), "\n")[1]
	own := 0 // the line of ben's first operation
	for i, line := range lines {
		if own == 0 && strings.Contains(line, `"items/A/result"`) && strings.Contains(line, `"pass"`) {
			own = i
		}
	}
	foreign = strings.Replace(foreign, `{"n":1,`, fmt.Sprintf(`{"n":%d,`, own), 1)
	head := func(old, new string) func([]string) { return row(0, old, new) }
	for name, c := range map[string]struct {
		damage func([]string)
		line   int
		reason string
	}{
		"a capital":            {row(1, `"n":1`, `"N":1`), 2, "not an operation"},
		"a member twice":       {row(1, `"n":1`, `"n":9,"n":1`), 2, "not an operation"},
		"a member more":        {row(1, `"n":1`, `"n":1,"x":0`), 2, "not an operation"},
		"a space":              {row(1, `"n":1,`, `"n":1, `), 2, "not an operation"},
		"an unknown flag":      {row(1, `"q":0`, `"q":64`), 2, "not an operation"},
		"a quarantined one":    {row(1, `"q":0`, `"q":1`), len(lines) + 1, "do not lead to the document"},
		"a position":           {row(1, `"n":1`, `"n":2`), 2, "the operation is missing"},
		"two in another order": {func(l []string) { l[1], l[2] = l[2], l[1] }, 2, "the operation is missing"},
		"another session's":    {func(l []string) { l[own] = foreign }, len(lines) + 1, "do not lead to the document"},
		"a header member more": {head(`{"v":1,`, `{"v":1,"x":0,`), 1, "not the header"},
		"a later version":      {head(`{"v":1,`, `{"v":2,"x":0,`), 1, "another version"},
		"fewer than none":      {head(fmt.Sprintf(`"n":%d`, len(lines)-1), `"n":-1`), 1, "not the header"},
		"a digest":             {head(`"digest":"`, `"digest":"0`), len(lines) + 1, "do not lead to the document"},
		"a chain":              {head(`"chain":"`, `"chain":"0`), len(lines) + 1, "the chain of"},
		"another session's id": {head(id, elsewhere), len(lines) + 1, "the chain of"},
	} {
		damaged := append([]string(nil), lines...)
		c.damage(damaged)
		if strings.Join(damaged, "\n") == strings.Join(lines, "\n") {
			t.Errorf("%s: nothing was damaged", name)
		}
		faulty(t, name, resummed(damaged...), c.line, c.reason)
	}
}

// row damages one line.
func row(i int, old, new string) func([]string) {
	return func(lines []string) { lines[i] = strings.Replace(lines[i], old, new, 1) }
}
