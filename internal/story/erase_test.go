package story

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// bystander is a name that should not have been written down.
const bystander = "Jane Citizen of unit 7"

// nameIsErased: a name in a remark, that everybody has read and the mirror holds, is erased by
// an officer; afterwards it is in no answer and nowhere in PostgreSQL.
func (s *story) nameIsErased() {
	s.t.Helper()
	conn, err := pgx.Connect(s.ctx, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.ctx)
	var written struct {
		Ops []string `json:"ops"`
	}
	s.must(s.inspectors[0], "POST", "/v1/tests/sessions/"+s.session+"/results", 200,
		map[string]any{"changes": []any{map[string]any{"op": "set", "path": "items/FE-001/remark", "value": "let in by " + bystander}}}, &written)
	const (
		rows    = `SELECT count(*)::text FROM fm_mirror.crdt_ops WHERE line LIKE '%' || $1 || '%'`
		records = `SELECT count(*)::text FROM fm_mirror.test_sessions WHERE session_data::text LIKE '%' || $1 || '%'`
		journal = `SELECT (count(*) > 0)::text FROM fm_sync.journal WHERE img::text LIKE '%' || $1 || '%'`
	)
	s.eventually(conn, "1", rows, bystander)
	s.eventually(conn, "1", records, bystander)
	s.eventually(conn, "true", journal, bystander)

	s.must(s.superuser(), "POST", "/v1/tests/sessions/"+s.session+"/redactions", 200,
		map[string]any{"dots": written.Ops, "reason": "a bystander's name, on her request"}, nil)
	s.eventually(conn, "0", rows, bystander)
	s.eventually(conn, "0", records, bystander)
	s.eventually(conn, "false", journal, bystander)
	for _, path := range []string{"", "/history?path=items/FE-001/remark", "/offline-bundle"} {
		a, err := s.manager.until(s.ctx, "GET", "/v1/tests/sessions/"+s.session+path, nil, nil)
		if err != nil || a.status != 200 || strings.Contains(string(a.body), bystander) {
			s.t.Errorf("GET …%s: %d, the name is in it: %t (%v)", path, a.status, strings.Contains(string(a.body), bystander), err)
		}
	}
	var log strings.Builder
	for _, op := range s.log() {
		log.Write(op.Op)
	}
	if strings.Contains(log.String(), bystander) || !strings.Contains(log.String(), "$redacted") {
		s.t.Errorf("the operation log: got %.2000s", log.String())
	}
}
