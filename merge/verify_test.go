package merge

import (
	"context"
	"strings"
	"testing"
)

// Every kind of damage is found and its place named.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	for damage, want := range map[string]struct {
		n      int64
		reason string
	}{
		`UPDATE crdt_ops SET line = CAST(replace(CAST(line AS TEXT), 'note 3', 'note 4') AS BLOB) WHERE n = 4`: {4, "hash"},
		`UPDATE crdt_ops SET hash = zeroblob(32) WHERE n = 2`:                                                  {2, "hash"},
		`DELETE FROM crdt_ops WHERE n = 3`:                                                                     {3, "missing"},
		`DELETE FROM crdt_ops WHERE n = 6`:                                                                     {6, "missing"},
		`UPDATE crdt_ops SET q = 1 WHERE n = 5`:                                                                {0, "session_data"},
		`UPDATE crdt_ops SET seq = 77 WHERE n = 5`:                                                             {5, "another operation"},
		`UPDATE crdt_heads SET chain = zeroblob(32)`:                                                           {0, "head"},
		`UPDATE crdt_heads SET seq = seq + 1`:                                                                  {0, "head"},
		`DELETE FROM crdt_heads`:                                                                               {0, "no head"},
		`UPDATE crdt_docs SET n = n - 1`:                                                                       {0, "head"},
		`UPDATE crdt_docs SET n = n + 1`:                                                                       {7, "missing"},
		`UPDATE crdt_docs SET key = 'another'`:                                                                 {0, "server_seq"},
		`UPDATE crdt_actors SET key = 'another'`:                                                               {1, "another operation"},
		`INSERT INTO crdt_snaps (doc, n, digest, state) SELECT id, 3, x'00', x'00' FROM crdt_docs`:             {3, "snapshot"},
		`UPDATE test_sessions SET session_data = replace(session_data, 'note 1', 'note 9')`:                    {0, "session_data"},
		`UPDATE test_sessions SET vector_clock = '{}'`:                                                         {0, "vector_clock"},
		`UPDATE test_sessions SET server_seq = 5`:                                                              {0, "server_seq"},
	} {
		s, app := service(t, Config{})
		id := session(t, app)
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(0), note(1), note(2), note(3), note(4), note(5)}})
		sound(t, s, id)
		for _, sql := range []string{"DROP TRIGGER crdt_ops_no_update", "DROP TRIGGER crdt_ops_no_delete", damage} {
			if _, err := app.NonconcurrentDB().NewQuery(sql).Execute(); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		r, err := s.Verify(context.Background(), id)
		if err != nil || r.Finding == nil || r.Finding.N != want.n || !strings.Contains(r.Finding.Reason, want.reason) {
			t.Errorf("%s: got %+v (%v), want %q at %d", damage, r.Finding, err, want.reason, want.n)
		}
	}
}

func TestLogIsAppendOnly(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"A"`)}})
	for _, sql := range []string{"UPDATE crdt_ops SET line = x'00'", "DELETE FROM crdt_ops"} {
		if _, err := app.NonconcurrentDB().NewQuery(sql).Execute(); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: got %v, want it refused", sql, err)
		}
	}
	sound(t, s, id)
}
