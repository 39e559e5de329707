package pgsync

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/jackc/pgx/v5"
)

// checkFindings looks at the reports about the mirror itself.
func checkFindings(t *testing.T, w *world, conn *pgx.Conn) {
	t.Helper()
	finding := func() []string {
		return lines(t, conn, "SELECT concat_ws(' ', kind, collection, record_id, field, refers_to, detail) FROM fm_report.integrity_findings ORDER BY 1")
	}
	lost := fmt.Sprintf("dangling defects %s repair_evidence_ids %s no such row in evidence", w.id("d6"), w.id("lost"))
	if got := finding(); !slices.Equal(got, []string{lost}) {
		t.Errorf("findings: got %q, want %q", got, lost)
	}
	if got := one[string](t, conn, "SELECT state || ' ' || lease_alive || ' ' || quarantined_rows || ' ' || tables_in_resync FROM fm_report.freshness"); got != "live true 0 0" {
		t.Errorf("freshness: got %s", got)
	}

	tx, err := conn.Begin(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	pgExec(t, conn, "SET session_replication_role = replica") // past the foreign keys
	pgExec(t, conn, "DELETE FROM fm_mirror.test_sessions WHERE session_name = 's2'")
	pgExec(t, conn, "SET session_replication_role = DEFAULT")
	pgExec(t, conn, "UPDATE fm_mirror.buildings SET _stale = true WHERE name = 'mill'")
	pgExec(t, conn, `INSERT INTO fm_sync.quarantine (origin, coll, pk, epoch, seq, op, sqlstate, constraint_name, message, img)
		SELECT origin, coll, 'row', 1, 1, 1, '23514', 'fm_ck', 'canary', 'canary' FROM fm_sync.collection WHERE shape ->> 'name' = 'defects'`)
	pgExec(t, conn, "UPDATE fm_sync.collection SET resync = '' WHERE shape ->> 'name' = 'defects'")
	want := []string{
		lost,
		fmt.Sprintf("dangling evidence %s session_id %s no such row in test_sessions", w.id("e3"), w.id("s2")),
		"quarantined defects row   23514 fm_ck",
		fmt.Sprintf("stale buildings %s   a newer version is in quarantine", w.id("mill")),
	}
	if got := finding(); !slices.Equal(got, want) {
		t.Errorf("findings: got %q, want %q", got, want)
	}
	if got := one[bool](t, conn, "SELECT is_stale FROM fm_report.buildings WHERE name = 'mill'"); !got {
		t.Error("the stale row does not say so")
	}
	if got := one[string](t, conn, "SELECT state || ' ' || quarantined_rows || ' ' || tables_in_resync FROM fm_report.freshness"); got != "resync 1 1" {
		t.Errorf("freshness: got %s", got)
	}
	pgExec(t, conn, "UPDATE fm_sync.origin SET lease_until = now() - interval '1 s'")
	if got := one[string](t, conn, "SELECT state || ' ' || lease_alive FROM fm_report.freshness"); got != "stopped false" {
		t.Errorf("freshness without a worker: got %s", got)
	}
	if err := tx.Rollback(deadline(t)); err != nil {
		t.Fatal(err)
	}
	checkCoverage(t, conn)
}

// checkCoverage wants everything that a declared collection has to be either in its view or named as a gap.
func checkCoverage(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	shown, named := map[string]bool{}, map[string]string{}
	for _, line := range lines(t, conn, "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'fm_report'") {
		shown[line] = true
	}
	for _, line := range lines(t, conn, "SELECT collection || '.' || field FROM fm_report.coverage") {
		named[line] = "gap"
	}
	for _, c := range collections.All() {
		if named[c.Name+"."] != "" {
			continue // the whole of it
		}
		for _, f := range c.Fields {
			if column := c.Name + "." + f.GetName(); shown[column] == (named[column] != "") {
				t.Errorf("%s is both shown and a gap, or neither", column)
			}
		}
	}
	for query, want := range map[string]string{
		"SELECT string_agg(collection, ' ' ORDER BY collection) FROM fm_report.coverage WHERE field = '' AND reason = 'cache'":                                "crdt_snaps idempotency_keys",
		"SELECT string_agg(collection || '.' || field, ' ' ORDER BY collection, field) FROM fm_report.coverage WHERE reason = 'sealed' AND mirrored":          "buildings.contact_email buildings.contact_name buildings.contact_phone users.full_name users.phone",
		"SELECT string_agg(field, ' ' ORDER BY field) FROM fm_report.coverage WHERE collection = 'users' AND reason IN ('secret', 'hidden') AND NOT mirrored": "password phone_index tokenKey tokens_valid_after",
		"SELECT count(*)::text FROM fm_report.coverage WHERE reason IN ('left out', 'absent', 'name')":                                                        "0",
	} {
		if got := one[string](t, conn, query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	// No sealed value is anywhere in the views; in the tables it is.
	if n := one[int](t, conn, "SELECT count(*)::int FROM fm_mirror.buildings WHERE contact_name = $1", token); n == 0 {
		t.Error("there is no sealed value to look for")
	}
	for _, view := range lines(t, conn, "SELECT relname::text FROM pg_class WHERE relnamespace = 'fm_report'::regnamespace") {
		if n := one[int](t, conn, "SELECT count(*)::int FROM fm_report."+pgIdent(view)+" v WHERE v::text LIKE '%gAAAA%' OR v::text LIKE '%canary%'"); n != 0 {
			t.Errorf("%s shows a sealed value or a secret in %d rows", view, n)
		}
	}
}

// checkExamples runs the queries of the page about reports; it has one for each.
func checkExamples(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	page, err := os.ReadFile("../docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		pgExec(t, conn, m[1])
		all.WriteString(m[1])
	}
	for name := range Reports() {
		if !regexp.MustCompile(`fm_report\.` + name + `\b`).MatchString(all.String()) {
			t.Errorf("docs/reports.md has no query of %s", name)
		}
	}
}
