package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firemode/merge"

	"github.com/pocketbase/dbx"
)

// export returns the session's log file.
func (p program) export(t testing.TB, session string) []byte {
	t.Helper()
	out, _, err := p.run("sessions", "export", session)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(out)
}

func logFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.ndjson")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// twin is another installation with the same session and an empty log, as after restoring
// a backup from before the visit.
func twin(t testing.TB, session string) program {
	t.Helper()
	p := newProgram(t)
	own := p.visit(t)
	p.damage(t, "DROP TRIGGER crdt_ops_no_delete", "DROP TRIGGER crdt_conflicts_no_delete", "DELETE FROM crdt_conflicts", "DELETE FROM crdt_ops", "DELETE FROM crdt_heads", "DELETE FROM crdt_docs", "DELETE FROM crdt_actors",
		"UPDATE test_sessions SET id = '"+session+"', session_data = '{}', vector_clock = '{}', server_seq = 0 WHERE id = '"+own+"'")
	return p
}

func (p program) record(t testing.TB, session string) (data string, lines []string) {
	t.Helper()
	if err := p.app.DB().Select("session_data").From("test_sessions").Where(dbx.HashExp{"id": session}).Row(&data); err != nil {
		t.Fatal(err)
	}
	if err := p.app.DB().NewQuery("SELECT n || ' ' || recv || ' ' || q || ' ' || CAST(line AS TEXT) FROM crdt_ops ORDER BY n").Column(&lines); err != nil {
		t.Fatal(err)
	}
	return data, lines
}

// A log goes out, comes in elsewhere with the same bytes, positions and times, and makes
// the same document. A second time adds nothing.
func TestLogFileRoundTrip(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	session := p.visit(t)
	file := p.export(t, session)
	path := logFile(t, file)
	if out := p.mustRun(t, "sessions", "import", path); !strings.Contains(out, "added 0 of 2 operations of 1 sessions") {
		t.Errorf("into itself: got %q", out)
	}
	q := twin(t, session)
	if out := q.mustRun(t, "sessions", "import", "--check", path); !strings.Contains(out, "to add: 2 of 2 operations") {
		t.Errorf("check: got %q", out)
	}
	if _, lines := q.record(t, session); len(lines) != 0 {
		t.Errorf("--check wrote %d operations", len(lines))
	}
	if out := q.mustRun(t, "sessions", "import", path, "--json"); !strings.Contains(out, `"added": 2`) {
		t.Errorf("import: got %q", out)
	}
	wantData, wantLines := p.record(t, session)
	gotData, gotLines := q.record(t, session)
	if gotData != wantData || strings.Join(gotLines, "\n") != strings.Join(wantLines, "\n") {
		t.Errorf("imported: got\n%s\n%q\nwant\n%s\n%q", gotData, gotLines, wantData, wantLines)
	}
	q.mustRun(t, "sessions", "verify")
	q.mustRun(t, "audit", "verify")
	if again := q.export(t, session); !bytes.Equal(again, file) {
		t.Errorf("exported again: got\n%s\nwant\n%s", again, file)
	}
	// To a file, of all sessions.
	whole := filepath.Join(t.TempDir(), "all.ndjson")
	p.mustRun(t, "sessions", "export", "--all", "--output", whole)
	if content, err := os.ReadFile(whole); err != nil || !bytes.Equal(content, file) {
		t.Errorf("--all --output: %v, %d bytes, want %d", err, len(content), len(file))
	}
	if entries, err := os.ReadDir(filepath.Dir(whole)); err != nil || len(entries) != 1 {
		t.Errorf("files left: %v (%v)", entries, err)
	}
}

// What the log here has beyond the file stays, and what the file has beyond the log is
// added behind it.
func TestImportIntoALogThatWentOn(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	session := p.visit(t)
	path := logFile(t, p.export(t, session))
	q := twin(t, session)
	service := q.deps.Merge(q.app)
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := service.Do(t.Context(), func(b *merge.Batch) error {
		_, err := b.Change(merge.ChangeRequest{SessionID: session, UserID: "cleo", Changes: []merge.Change{{Op: merge.OpSet, Path: "title", Value: []byte(`"After"`)}}})
		return err
	})
	service.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if out := q.mustRun(t, "sessions", "import", path); !strings.Contains(out, "added 2 of 2") {
		t.Errorf("import: got %q", out)
	}
	if _, lines := q.record(t, session); len(lines) != 3 || !strings.Contains(lines[0], "After") {
		t.Errorf("log: got %q", lines)
	}
	q.mustRun(t, "sessions", "verify")
}

// Flipped bytes, cuts and every other mistake are found and named, and nothing is written.
func TestImportRefusesWhatIsNotGood(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	session := p.visit(t)
	file := p.export(t, session)
	q := twin(t, session)
	refused := func(name string, content []byte, want string) {
		t.Helper()
		_, _, err := q.run("sessions", "import", logFile(t, content))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	for i := 0; i < len(file); i += 101 { // every byte: in package merge
		broken := bytes.Clone(file)
		broken[i] ^= 1
		refused("byte "+string(file[max(0, i-20):i+1]), broken, "nothing was written")
	}
	lines := bytes.SplitAfter(file, []byte{'\n'})
	stranger := newProgram(t)
	other := bytes.SplitAfter(stranger.export(t, stranger.visit(t)), []byte{'\n'})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, row := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":             {nil, "line 1: the file is empty"},
		"cut in a line":     {file[:len(file)-3], "line 4: the file is cut off in this line"},
		"cut after a line":  {join(lines[:3]...), "line 4: the end line is missing"},
		"an operation less": {join(lines[0], lines[2], lines[3]), "line 2: the operation is missing"},
		"cut before":        {join(lines[:2]...), "line 3: operations are missing"},
		"doubled":           {join(lines[0], lines[1], lines[1], lines[2], lines[3]), "line 3: the operation is missing"},
		"CRLF":              {bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), "line 1: the line ends in CR LF"},
		"no header":         {join(lines[1:]...), "line 1: not the header"},
		"version":           {bytes.Replace(file, []byte(`{"v":1`), []byte(`{"v":2`), 1), "line 1: the log is of another version"},
		"a session twice":   {join(file, file), "line 5: the session is in the file already"},
		"another's line":    {join(lines[0], other[1], lines[2], lines[3]), "line 2: the operation's author is not in the header"},
		"another session":   {bytes.Replace(file, []byte(session), []byte("0199a3f2-b1c4-7000-8000-000000000000"), 1), "nothing was written"},
		"10 MB line":        {bytes.Repeat([]byte("x"), 10<<20), "line 1: the line is too long"},
		"spaces in an op":   {bytes.Replace(file, []byte(`,"k":"put"`), []byte(`, "k":"put"`), 1), "line 2: the operation is not canonical"},
		"a stranger's op":   {bytes.Replace(file, []byte(`"actor":"`), []byte(`"actor":"x`), 1), "nothing was written"},
	} {
		refused(name, row.content, row.want)
	}
	if _, lines := q.record(t, session); len(lines) != 0 {
		t.Errorf("a refused file wrote %d operations", len(lines))
	}
	if _, _, err := newProgram(t).run("sessions", "import", logFile(t, file)); err == nil || !strings.Contains(err.Error(), "restore its record first") {
		t.Errorf("no such session: got %v", err)
	}
	if _, _, err := q.run("sessions", "import", "nosuch.ndjson"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: got %v", err)
	}
	for _, args := range [][]string{{"sessions", "export"}, {"sessions", "export", session, "--all"}} {
		if _, _, err := p.run(args...); err == nil || !strings.Contains(err.Error(), "--all") {
			t.Errorf("%v: got %v", args, err)
		}
	}
	// A log that contradicts the file.
	q.mustRun(t, "sessions", "import", logFile(t, file))
	q.damage(t, "DROP TRIGGER crdt_ops_no_update", "UPDATE crdt_ops SET hash = zeroblob(32) WHERE n = 1")
	refused("fork", file, "another operation")
	q.damage(t, "UPDATE crdt_actors SET user = 'mallory'")
	refused("foreign author", file, "another installation")
	if _, _, err := q.run("sessions", "export", session); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("export of a damaged log: got %v", err)
	}
}
