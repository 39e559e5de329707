package merge

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// No byte of a log file can be flipped, left out or doubled unnoticed.
func TestLogFileNoticesEveryByte(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	revoked(t, s, app, id)
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Device: "phone", Changes: []Change{set("items/A/result", `"pass"`)}, Reason: "seen"})
	var b bytes.Buffer
	if n, err := s.Export(context.Background(), id, &b); err != nil || n != 5 {
		t.Fatalf("export: %d operations (%v), want 5", n, err)
	}
	file := b.Bytes()
	if err := ReadLogFile(bytes.NewReader(file), LogVisitor{}); err != nil {
		t.Fatalf("the file as it was written: %v", err)
	}
	found := func(what string, at int, content []byte) {
		t.Helper()
		var fault *LogFileError
		if err := ReadLogFile(bytes.NewReader(content), LogVisitor{}); !errors.As(err, &fault) || fault.LineNumber < 1 {
			t.Errorf("byte %d (%q) %s: got %v", at, file[max(0, at-10):at+1], what, err)
		}
	}
	for i := range file {
		flipped := bytes.Clone(file)
		flipped[i] ^= 1
		found("flipped", i, flipped)
		if i%7 != 0 {
			continue // the rest would only be slower
		}
		found("left out", i, append(bytes.Clone(file[:i]), file[i+1:]...))
		found("doubled", i, append(bytes.Clone(file[:i+1]), file[i:]...))
		found("at the end", i, file[:i])
	}
}
