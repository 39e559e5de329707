package powercut

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firemode/internal/sqlite"
)

// TestCheckerFindsDamage breaks what was found after a cut, one thing at a time.
func TestCheckerFindsDamage(t *testing.T) {
	t.Parallel()
	w := record(t, sqlite.Connect, 1, 3)
	d := NewDisk(w.Recording)
	d.Advance(w.Now())
	found := d.Cut(Fate{Keep: 1, Names: 1}, nil)
	if v := w.checkFiles(t, found, w.Now()); v.acked < 4*tablets || v.lost > 0 || len(v.wrong) > 0 {
		t.Fatalf("before the damage: got %+v, want nothing found", v)
	}
	const newest = "doc = 1 AND n = (SELECT max(n) FROM crdt_ops WHERE doc = 1 AND q = 0 AND line NOT LIKE '%notes/redacted%')"
	for name, c := range map[string]struct{ damage, want string }{
		"operation lost":      {"DELETE FROM crdt_ops WHERE " + newest, "1 lost"},
		"redaction lost":      {"DELETE FROM crdt_ops WHERE line LIKE '%notes/redacted%'", " lost"},
		"value back":          {"UPDATE crdt_ops SET q = 0, line = CAST(replace(CAST(line AS TEXT), '$redacted', '$number') AS BLOB) WHERE q = 32", "other bytes"},
		"operation changed":   {"UPDATE crdt_ops SET line = CAST(replace(CAST(line AS TEXT), 'remark', 'Remark') AS BLOB) WHERE " + newest, "other bytes"},
		"position skipped":    {"UPDATE crdt_ops SET n = n + 1000 WHERE " + newest, "position: got"},
		"document behind":     {"UPDATE crdt_docs SET n = n - 1", "document: got position"},
		"head lost":           {"DELETE FROM crdt_heads WHERE doc = 1", "an actor has no head"},
		"head behind":         {"UPDATE crdt_heads SET seq = seq - 1", "does not end at its head"},
		"record behind":       {"UPDATE test_sessions SET server_seq = server_seq - 1", "the record at"},
		"record differs":      {"UPDATE test_sessions SET session_data = '{}'", "session_data"},
		"audit entry lost":    {"DELETE FROM audit_log WHERE seq = (SELECT max(seq) FROM audit_log WHERE action = 'merge')", "0 audit entries"},
		"audit entry doubled": {"CREATE TEMP TABLE c AS SELECT * FROM audit_log WHERE seq = 1; UPDATE c SET id = 'x', seq = (SELECT max(seq) + 1 FROM audit_log); INSERT INTO audit_log SELECT * FROM c", "audit entries: got"},
		"audit entry missing": {"DELETE FROM audit_log WHERE seq = 1", "the audit log has gaps"},
		"outbox entry lost":   {"DELETE FROM _pgsync_log WHERE coll = 'crdt_ops' AND seq = (SELECT max(seq) FROM _pgsync_log WHERE coll = 'crdt_ops' AND op = 7)", "0 entries in the outbox"},
		"erasure not carried": {"DELETE FROM _pgsync_log WHERE coll = 'crdt_ops' AND op = 2", "0 entries of its erasure"},
		"index differs":       {"", "integrity of data.db"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			damaged := map[string][]byte{"data.db": damage(t, found["data.db"], c.damage), "auxiliary.db": found["auxiliary.db"]}
			v := w.checkFiles(t, damaged, w.Now())
			if got := fmt.Sprintf("%d lost %v", v.lost, v.wrong); !strings.Contains(got, c.want) {
				t.Errorf("got %.1000s, want %q", got, c.want)
			}
		})
	}
}

// TestCheckerFindsAHalfRequest cuts the requests in the checker's hand instead: what is kept
// is then a half, something nobody has sent, or from after the cut.
func TestCheckerFindsAHalfRequest(t *testing.T) {
	t.Parallel()
	a := act{first: 1, begun: 3, acked: 9}
	a.req.SessionID, a.req.Actor, a.req.Lines = "s", "a", [][]byte{[]byte("one"), []byte("two")}
	w := &world{acts: []act{a}}
	one, two := position{"s", "a", 1}, position{"s", "a", 2}
	both := map[position]logRow{one: {n: 1, line: []byte("one")}, two: {n: 2, line: []byte("two")}}
	for name, c := range map[string]struct {
		logged map[position]logRow
		cut    int
		want   string
	}{
		"all there":          {both, 9, "{acked:2 lost:0 wrong:[]}"},
		"not acknowledged":   {nil, 8, "{acked:0 lost:0 wrong:[]}"},
		"acknowledged":       {nil, 9, "{acked:2 lost:2 wrong:[]}"},
		"half":               {map[position]logRow{one: both[one]}, 8, "{acked:0 lost:0 wrong:[1 of 2 operations of a request were kept]}"},
		"not yet sent":       {both, 2, "{acked:0 lost:0 wrong:[a.1 was sent after the cut]}"},
		"sent by nobody":     {map[position]logRow{{"s", "b", 1}: both[one]}, 8, "{acked:0 lost:0 wrong:[the log has 1 operations, of which tablets have made 0]}"},
		"in another session": {map[position]logRow{{"z", "a", 1}: both[one]}, 8, "{acked:0 lost:0 wrong:[the log has 1 operations, of which tablets have made 0]}"},
	} {
		var v verdict
		w.compareLog(c.logged, c.cut, &v)
		if got := fmt.Sprintf("%+v", v); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// damage returns the database after the statements, which no trigger holds up. Without
// statements, an index loses an entry.
func damage(t *testing.T, database []byte, statements string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := WriteFiles(dir, map[string][]byte{"x.db": database}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var page, size int
	var drop string
	err = db.QueryRow(`SELECT (SELECT page_size FROM pragma_page_size), (SELECT rootpage FROM sqlite_master WHERE name = 'unq_audit_log_seq'),
		group_concat('DROP TRIGGER "' || name || '"', ';') FROM sqlite_master WHERE type = 'trigger'`).Scan(&size, &page, &drop)
	if err != nil {
		t.Fatal(err)
	}
	if statements == "" {
		header := database[(page-1)*size:]
		changed := append([]byte(nil), database...)
		cells := binary.BigEndian.Uint16(header[3:])
		binary.BigEndian.PutUint16(changed[(page-1)*size+3:], cells-1)
		return changed
	}
	if _, err := db.Exec(drop + ";" + statements + "; PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatalf("damage: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	changed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}
