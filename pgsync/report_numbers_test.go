package pgsync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
)

// expected are the lines that a report should have, computed from SQLite.
func (w *world) expected() map[string][]string {
	all := map[string][]string{}
	add := func(report string, parts ...any) {
		line := strings.TrimSuffix(fmt.Sprintln(parts...), "\n")
		all[report] = append(all[report], line)
	}
	now := stamp(w.now)
	sessions, defects, evidence := w.read("test_sessions"), w.read("defects"), w.read("evidence")
	conflicts, docs := w.read("crdt_conflicts"), w.read("crdt_docs")
	session := func(c map[string]string) map[string]string {
		for _, d := range docs {
			if d["id"] == c["doc"] {
				return w.find("test_sessions", d["key"])
			}
		}
		return nil
	}
	overdue := func(d map[string]string) bool {
		return d["state"] != "closed" && d["acknowledged_at"] == "" && d["notify_by"] != "" && d["notify_by"] < now
	}
	for _, b := range w.read("buildings") {
		var n, unlocked, open, critical, late, disputed, files, flagged int
		last, first, months := "-", b["created_at"], map[string][5]int{}
		for _, s := range sessions {
			if s["building_id"] != b["id"] {
				continue
			}
			n++
			first = min(first, s["created_at"])
			month := w.date(w.time(s["created_at"]), b["time_zone"])[:7]
			ops, _ := strconv.Atoi(s["server_seq"])
			m := months[month]
			m[0]++
			m[4] += ops
			for i, status := range []string{"active", "in_review", "locked"} {
				if s["status"] == status {
					m[i+1]++
				}
			}
			months[month] = m
			if s["status"] != "locked" {
				unlocked++
			}
			if on := w.date(w.time(s["created_at"]), b["time_zone"]); last == "-" || on > last {
				last = on
			}
			for _, e := range evidence {
				if e["session_id"] == s["id"] && e["file"] != "" {
					files++
				}
				if e["session_id"] == s["id"] && e["flagged_for_review"] == "1" {
					flagged++
				}
			}
			for _, c := range conflicts {
				if session(c)["id"] == s["id"] && c["resolved_at"] == "0" {
					disputed++
				}
			}
		}
		for _, d := range defects {
			if d["building_id"] != b["id"] || d["state"] == "closed" {
				continue
			}
			open++
			if d["severity_class"] == "critical_defect" {
				critical++
			}
			if overdue(d) {
				late++
			}
		}
		if b["deleted_at"] == "" {
			add("building_status", b["name"], n, unlocked, last, open, critical, late, disputed, files, flagged)
		}
		end := w.cut
		if b["deleted_at"] != "" {
			end = b["deleted_at"]
		}
		from, to := w.date(w.time(first), b["time_zone"])[:7], w.date(w.time(end), b["time_zone"])[:7]
		for at, _ := time.Parse("2006-01", from); at.Format("2006-01") <= to; at = at.AddDate(0, 1, 0) {
			m := months[at.Format("2006-01")]
			add("session_coverage", b["name"], at.Format("2006-01"), m[0], m[1], m[2], m[3], m[4])
		}
	}
	for _, d := range defects {
		b := w.find("buildings", d["building_id"])
		if overdue(d) {
			add("overdue", "notice", d["severity_class"], b["name"], w.date(w.time(d["notify_by"]), b["time_zone"]), w.days(d["notify_by"], now, b["time_zone"]))
		}
		if d["evidence_ids"] == "[]" {
			add("evidence_gaps", "defect not shown", d["id"], b["name"])
		}
		if slices.Contains([]string{"repaired", "verified", "closed"}, d["state"]) && d["repair_evidence_ids"] == "[]" {
			add("evidence_gaps", "repair not shown", d["id"], b["name"])
		}
		if d["state"] == "closed" {
			continue
		}
		notice, due := "due", "-"
		switch {
		case d["notify_by"] == "":
			notice = "none"
		case d["acknowledged_at"] != "" && d["acknowledged_at"] <= d["notify_by"]:
			notice = "given"
		case d["acknowledged_at"] != "":
			notice = "given late"
		case overdue(d):
			notice = "overdue"
		}
		if d["notify_by"] != "" {
			due = w.date(w.time(d["notify_by"]), b["time_zone"])
		}
		add("open_defects", d["description"], b["name"], notice, due, w.days(d["discovered_at"], now, b["time_zone"]), strings.Count(d["evidence_ids"], ",")+boolInt(d["evidence_ids"] != "[]"))
	}
	newest := map[string]map[string]string{}
	for _, c := range w.read("calibration_certificates") {
		if c["expires_at"] > newest[c["instrument_id"]]["expires_at"] {
			newest[c["instrument_id"]] = c
		}
	}
	for _, c := range newest {
		if c["expires_at"] < now {
			add("overdue", "certificate", "gauge "+c["instrument_id"], "-", w.date(w.time(c["expires_at"]), ""), w.days(c["expires_at"], now, ""))
		}
	}
	for _, e := range evidence {
		b := w.find("buildings", w.find("test_sessions", e["session_id"])["building_id"])
		if e["file"] == "" {
			add("evidence_gaps", "no file", e["id"], b["name"])
		}
		if e["flagged_for_review"] == "1" {
			add("evidence_gaps", "in doubt", e["id"], b["name"])
		}
	}
	type policy struct{ session, policy string }
	type tally struct {
		open, resolved  int
		oldest, longest int64
	}
	counts := map[policy]tally{}
	for _, c := range conflicts {
		s := session(c)
		key := policy{s["session_name"], c["policy"]}
		n := counts[key]
		open := c["resolved_at"] == "0"
		opened, _ := strconv.ParseInt(c["opened_at"], 10, 64)
		resolved, _ := strconv.ParseInt(c["resolved_at"], 10, 64)
		if open {
			n.open++
			if n.oldest == 0 || opened < n.oldest {
				n.oldest = opened
			}
		} else {
			n.resolved++
			n.longest = max(n.longest, resolved-opened)
		}
		counts[key] = n
		add("conflicts", s["session_name"], w.find("buildings", s["building_id"])["name"], c["path"], c["policy"], c["value_count"], open, c["opened_at"], c["resolved_at"])
	}
	for key, n := range counts {
		add("conflict_counts", key.session, key.policy, n.open, n.resolved, n.oldest, n.longest)
	}
	for _, r := range w.read("as1851_rules") {
		outcomes, other := map[string]int{}, map[string]int{}
		for _, c := range w.read("classifications") {
			if c["rule_id"] == r["id"] {
				outcomes[c["outcome"]]++
				other[c["outcome"]] += boolInt(c["rule_sha256"] != r["rule_sha256"])
			}
		}
		if len(outcomes) == 0 {
			add("classifications_by_rule", r["rule_code"], r["version"], "-", 0, 0)
		}
		for outcome, n := range outcomes {
			add("classifications_by_rule", r["rule_code"], r["version"], outcome, n, other[outcome])
		}
	}
	for _, c := range w.read("classifications") {
		if c["outcome"] == "out_of_tolerance" {
			s := w.find("test_sessions", c["session_id"])
			b := w.find("buildings", s["building_id"])
			add("out_of_tolerance", w.find("as1851_rules", c["rule_id"])["rule_code"], c["rule_version"], s["session_name"], b["name"], w.date(w.time(c["created_at"]), b["time_zone"]))
		}
	}
	for _, a := range w.read("audit_log") {
		name := w.find("users", a["user_id"])["username"]
		if name == "" {
			name = "-"
		}
		add("audit_trail", a["seq"], name, a["action"], a["resource_type"], a["resource_id"], w.time(a["created_at"]).UnixMilli())
	}
	return all
}

func boolInt(is bool) int {
	if is {
		return 1
	}
	return 0
}

// reportLines are the queries whose lines are compared.
var reportLines = map[string]string{
	"building_status":         `name, sessions, sessions_unlocked, coalesce(last_session_on::text, '-'), open_defects, open_critical_defects, notices_overdue, open_conflicts, evidence_files, evidence_flagged`,
	"session_coverage":        `building, to_char(month, 'YYYY-MM'), sessions, active, in_review, locked, operations`,
	"overdue":                 `kind, subject, coalesce(building, '-'), due_on, days_overdue`,
	"open_defects":            `description, building, notice, coalesce(due_on::text, '-'), days_open, evidence`,
	"out_of_tolerance":        `rule_code, rule_version, session_name, building, decided_on`,
	"conflicts":               `session_name, building, path, policy, standing_values, CASE WHEN is_open THEN 'true' ELSE 'false' END, (extract(epoch FROM opened_at) * 1000)::bigint, coalesce((extract(epoch FROM resolved_at) * 1000)::bigint, 0)`,
	"conflict_counts":         `(SELECT s.session_name FROM fm_report.test_sessions s WHERE s.id = session_id), policy, open, resolved, coalesce((extract(epoch FROM oldest_open_at) * 1000)::bigint, 0), coalesce((extract(epoch FROM longest_resolved) * 1000)::bigint, 0)`,
	"evidence_gaps":           `gap, record_id, building`,
	"classifications_by_rule": `rule_code, rule_version, coalesce(outcome, '-'), decisions, decided_under_other_text`,
	"audit_trail":             `seq, coalesce(username, '-'), action, resource_type, resource_id, (extract(epoch FROM at) * 1000)::bigint`,
}

// compareReports says where a report differs from what SQLite has, in an open transaction: in there, time stands still.
func (w *world) compareReports(conn *pgx.Conn) (differ []string) {
	w.now = one[time.Time](w.t, conn, "SELECT now()")
	w.cut = stamp(one[time.Time](w.t, conn, "SELECT data_as_of FROM fm_report.freshness"))
	expected := w.expected()
	for report, columns := range reportLines {
		got := lines(w.t, conn, "SELECT concat_ws(' ', "+columns+") FROM fm_report."+report)
		slices.Sort(got)
		want := expected[report]
		slices.Sort(want)
		if len(want) < 2 {
			w.t.Errorf("%s: the world has %d lines of it, which tests little", report, len(want))
		}
		if !slices.Equal(got, want) {
			differ = append(differ, fmt.Sprintf("%s: got\n%s\nwant\n%s", report, strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
	}
	return differ
}

func TestReportsHaveTheRightNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.populate()
	dsn := pgtest.Database(t)
	drain(t, manual(t, w.app, Config{DSN: dsn}))
	mustEqual(t, w.app, dsn)
	conn := pg(t, dsn)
	// What the tables hold decides: each of these changes is seen.
	for _, c := range []struct{ change, report string }{
		{"SELECT 1", ""},
		{"UPDATE fm_mirror.test_sessions SET status = 'locked' WHERE status = 'active'", "building_status"},
		{"UPDATE fm_mirror.test_sessions SET created_at = created_at - interval '40 days' WHERE session_name = 's2'", "session_coverage"},
		{"UPDATE fm_mirror.defects SET acknowledged_at = now() WHERE description = 'd1'", "overdue"},
		{"UPDATE fm_mirror.defects SET acknowledged_at = NULL WHERE description = 'd2'", "open_defects"},
		{"UPDATE fm_mirror.buildings SET time_zone = 'UTC' WHERE name = 'tower'", "open_defects"},
		{"DELETE FROM fm_mirror.classifications WHERE outcome = 'out_of_tolerance'", "out_of_tolerance"},
		{"DELETE FROM fm_mirror.classifications WHERE outcome = 'pass'", "classifications_by_rule"},
		{"UPDATE fm_mirror.crdt_conflicts SET resolved_at = changed_at + 1 WHERE id = '5'", "conflicts"},
		{"UPDATE fm_mirror.crdt_conflicts SET policy = 'max' WHERE id = '5'", "conflict_counts"},
		{"UPDATE fm_mirror.evidence SET file = '' WHERE flagged_for_review", "evidence_gaps"},
		{"UPDATE fm_mirror.users SET username = 'bob'", "audit_trail"},
	} {
		tx, err := conn.Begin(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		pgExec(t, conn, "SET CONSTRAINTS ALL DEFERRED")
		pgExec(t, conn, c.change)
		differ := strings.Join(w.compareReports(conn), "\n")
		if c.report == "" && differ != "" {
			t.Error(differ)
		}
		if c.report != "" && !strings.Contains("\n"+differ, "\n"+c.report+": ") {
			t.Errorf("after %s %s is as it was", c.change, c.report)
		}
		if err := tx.Rollback(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	checkReportShapes(t, conn)
	checkFindings(t, w, conn)
	checkExamples(t, conn)
}

// checkReportShapes holds every view and function to the form that all share.
func checkReportShapes(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const wrong = `SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'fm_report'::regnamespace AND (c.relkind <> 'v'
		OR NOT coalesce(c.reloptions, '{}') @> '{security_barrier=true}' OR obj_description(c.oid) IS NULL
		OR (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND (a.attname = 'origin' AND a.atttypid = 'smallint'::regtype
		    OR a.attname = 'data_as_of' AND a.atttypid = 'timestamptz'::regtype)) <> 2)`
	if bad := lines(t, conn, wrong); len(bad) != 0 {
		t.Errorf("without origin, data_as_of, security_barrier or a comment: %v", bad)
	}
	if n := one[int](t, conn, "SELECT count(*)::int FROM pg_class WHERE relnamespace = 'fm_report'::regnamespace"); n != len(Reports())+len(Mirrored().names()) {
		t.Errorf("%d views, want one for each of %d questions and %d tables", n, len(Reports()), len(Mirrored().names()))
	}
	const functions = `SELECT (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'fm_report') || ' '
		|| (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'fm_hist' AND c.relkind = 'r')`
	if got := strings.Fields(one[string](t, conn, functions)); got[0] != got[1] {
		t.Errorf("%s functions of a time, for %s histories", got[0], got[1])
	}
	// A span of time reaches the index, through the barrier.
	tx, err := conn.Begin(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	pgExec(t, conn, "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
	plan := strings.Join(lines(t, conn, "EXPLAIN SELECT * FROM fm_report.audit_trail WHERE at >= '2026-01-01Z' AND at < '2026-02-01Z'"), "\n")
	if !strings.Contains(plan, "Bitmap Index Scan on fm_brin_audit_log_created_at") {
		t.Errorf("a span of the audit trail is read by\n%s", plan)
	}
	pgExec(t, conn, "CREATE VIEW fm_report.control WITH (security_barrier = true) AS SELECT 1::smallint AS origin, '' AS data_as_of")
	if bad := lines(t, conn, wrong); fmt.Sprint(bad) != "[control]" {
		t.Errorf("a view without form: got %v", bad)
	}
	if err := tx.Rollback(deadline(t)); err != nil {
		t.Fatal(err)
	}
}
