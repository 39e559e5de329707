package story

import (
	"path/filepath"
	"strings"

	"firemode/internal/sqlite"
	"firemode/internal/testbin"

	"github.com/jackc/pgx/v5"
)

// everythingVerifies runs each verifier of the program on what the story left,
// then changes one value where no trigger or hook sees it and runs it again: a
// verifier that still agrees proves nothing. The server MUST have stopped.
func (s *story) everythingVerifies() {
	s.t.Helper()
	for _, v := range []struct {
		args   []string
		damage func()
	}{
		{[]string{"mirror", "verify"}, func() {
			s.damagePostgres(`UPDATE fm_mirror.test_sessions SET session_name = session_name || '.' WHERE id = $1`, s.session)
		}},
		{[]string{"sessions", "verify", s.session}, func() {
			s.damageSQLite(`DROP TRIGGER crdt_ops_no_update`, `UPDATE crdt_ops SET line = CAST(replace(line, '"put"', '"inc"') AS BLOB)
				WHERE n = 1 AND doc = (SELECT id FROM crdt_docs WHERE key = '`+s.session+`')`)
		}},
		{[]string{"audit", "verify"}, func() {
			s.damageSQLite(`DROP TRIGGER audit_log_no_update`, `UPDATE audit_log SET user_role = 'owner' WHERE seq = 7`)
		}},
	} {
		what := "firemode " + strings.Join(v.args, " ")
		if r := testbin.Run(s.t, s.env, v.args...); r.Code != 0 {
			s.t.Errorf("%s: exit code %d\n%s%s", what, r.Code, r.Stdout, r.Stderr)
		}
		v.damage()
		if r := testbin.Run(s.t, s.env, v.args...); r.Code != 1 {
			s.t.Errorf("%s after damage: exit code %d, want 1\n%s%s", what, r.Code, r.Stdout, r.Stderr)
		}
	}
}

func (s *story) damagePostgres(statement string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(s.ctx, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.ctx)
	tag, err := conn.Exec(s.ctx, statement, args...)
	if err != nil || tag.RowsAffected() != 1 {
		s.t.Fatalf("damage the mirror: %v, %v", tag, err)
	}
}

// damageSQLite changes the database file as somebody with access to the disk could.
func (s *story) damageSQLite(statements ...string) {
	s.t.Helper()
	db, err := sqlite.Connect(filepath.Join(s.env["FIREMODE_DATA"], "data.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.NewQuery(statement).Execute(); err != nil {
			s.t.Fatalf("damage the database: %v", err)
		}
	}
}
