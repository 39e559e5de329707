package story

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// mirrorTimeout bounds how long the mirror may take to catch up; it lags by
// milliseconds unless the machine is busy.
const mirrorTimeout = 60 * time.Second

// mirrorHolds: every row stands in PostgreSQL, tied by foreign keys, documents
// as JSONB, sealed fields as ciphertext.
func (s *story) mirrorHolds() {
	s.t.Helper()
	conn, err := pgx.Connect(s.ctx, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.ctx)

	want := fmt.Sprint(2 * resultsPerInspector)
	s.eventually(conn, want, `SELECT count(*)::text FROM fm_mirror.crdt_ops o JOIN fm_mirror.crdt_docs d ON d.id = o.doc WHERE d.key = $1`, s.session)
	s.eventually(conn, want, `SELECT server_seq::text FROM fm_mirror.test_sessions WHERE id = $1`, s.session)
	s.eventually(conn, fmt.Sprint(2*photosPerInspector), `SELECT count(*)::text FROM fm_mirror.evidence WHERE session_id = $1`, s.session)
	s.eventually(conn, want, `SELECT count(*)::text FROM fm_mirror.audit_log WHERE action = 'merge' AND resource_id = $1`, s.session)

	// The worker ties the tables when it has carried everything.
	const tied = `SELECT (count(*) > 0)::text FROM pg_constraint WHERE contype = 'f' AND conrelid = $1::text::regclass AND confrelid = $2::text::regclass`
	s.eventually(conn, "true", tied, "fm_mirror.test_sessions", "fm_mirror.buildings")
	s.eventually(conn, "true", tied, "fm_mirror.evidence", "fm_mirror.test_sessions")

	for what, query := range map[string]string{
		"the document is JSONB":              `SELECT data_type = 'jsonb' FROM information_schema.columns WHERE table_schema = 'fm_mirror' AND table_name = 'test_sessions' AND column_name = 'session_data'`,
		"the document has a GIN index":       `SELECT count(*) > 0 FROM pg_indexes WHERE schemaname = 'fm_mirror' AND tablename = 'test_sessions' AND indexdef LIKE '%gin%session_data%'`,
		"sealed fields are ciphertext":       `SELECT bool_and(full_name LIKE 'gAAAA%') FROM fm_mirror.users WHERE full_name <> ''`,
		"there are sealed fields to look at": `SELECT count(*) > 0 FROM fm_mirror.users WHERE full_name <> ''`,
		"no password came along":             `SELECT count(*) = 0 FROM information_schema.columns WHERE table_schema = 'fm_mirror' AND column_name IN ('password', 'tokenKey')`,
	} {
		var ok bool
		if err := conn.QueryRow(s.ctx, query).Scan(&ok); err != nil || !ok {
			s.t.Errorf("mirror: not so: %s (%v)", what, err)
		}
	}
}

// eventually waits until query gives want.
func (s *story) eventually(conn *pgx.Conn, want, query string, args ...any) {
	s.t.Helper()
	deadline := time.Now().Add(mirrorTimeout)
	for {
		var got string
		err := conn.QueryRow(s.ctx, query, args...).Scan(&got)
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("mirror: got %q (%v), want %q: %s\n%s", got, err, want, query, s.server.Log())
			return
		}
		<-time.After(retryEvery)
	}
}
