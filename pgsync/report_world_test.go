package pgsync

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// A world is a small set of records of the real schema, written by hand, and read back from SQLite to compute by plain
// loops what the reports should say.
type world struct {
	t   *testing.T
	app core.App
	now time.Time
	cut string            // the newest change that is in PostgreSQL
	ids map[string]string // short name -> id
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Now().UTC().Truncate(time.Millisecond), ids: map[string]string{}}
	w.app = testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	if err := Arm(w.app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) id(name string) string {
	if name != "" && w.ids[name] == "" {
		w.ids[name] = newID(w.t)
	}
	return w.ids[name]
}

// ago is a time as SQLite has it; negative days lie ahead.
func (w *world) ago(days float64) string {
	return stamp(w.now.Add(-time.Duration(days * 24 * float64(time.Hour))))
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000Z") }

type row map[string]any

func (w *world) add(table, name string, values row) {
	w.t.Helper()
	values = maps.Clone(values)
	if name != "" {
		values["id"] = w.id(name)
	}
	var columns, params []string
	for _, column := range slices.Sorted(maps.Keys(values)) {
		columns, params = append(columns, quoteIdent(column)), append(params, "{:"+column+"}")
	}
	run(w.t, w.app, "INSERT INTO "+table+" ("+strings.Join(columns, ",")+") VALUES ("+strings.Join(params, ",")+")", dbx.Params(values))
}

// read returns all rows of a table, every value as text.
func (w *world) read(table string) []map[string]string {
	w.t.Helper()
	var rows []dbx.NullStringMap
	if err := w.app.DB().NewQuery("SELECT * FROM " + table).All(&rows); err != nil {
		w.t.Fatal(err)
	}
	var list []map[string]string
	for _, r := range rows {
		m := map[string]string{}
		for k, v := range r {
			m[k] = v.String
		}
		list = append(list, m)
	}
	return list
}

func (w *world) find(table, id string) map[string]string {
	for _, r := range w.read(table) {
		if r["id"] == id {
			return r
		}
	}
	return map[string]string{}
}

func (w *world) time(text string) time.Time {
	w.t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.000Z", text)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

// date is the date on the wall of a building.
func (w *world) date(at time.Time, zone string) string {
	place, err := time.LoadLocation(zone)
	if err != nil {
		place = time.UTC
	}
	return at.In(place).Format(time.DateOnly)
}

func (w *world) days(from, to, zone string) int {
	day := func(text string) time.Time {
		at, err := time.Parse(time.DateOnly, w.date(w.time(text), zone))
		if err != nil {
			w.t.Fatal(err)
		}
		return at
	}
	return int(day(to).Sub(day(from)).Hours() / 24)
}

// populate writes a record of each kind that the reports tell apart.
func (w *world) populate() {
	w.add("organisations", "acme", row{"name": "Acme", "kind": "contractor"})
	w.add("users", "ann", row{"username": "ann", "email": "ann@example.com", "password": "$argon2id$canary-hash", "tokenKey": "canary-key",
		"full_name": token, "role": "inspector", "organisation_id": w.id("acme"), "is_active": true})
	building := func(name, zone, deleted string, created float64) {
		w.add("buildings", name, row{"name": name, "address": "1 High St", "building_type": "9a", "organisation_id": w.id("acme"),
			"compliance_status": "pending", "contact_name": token, "time_zone": zone, "deleted_at": deleted, "created_at": w.ago(created), "metadata": "{}"})
	}
	building("tower", "Pacific/Kiritimati", "", 200)
	building("mill", "", "", 100)
	building("shed", "No/Where", "", 40)
	building("ruin", "America/New_York", w.ago(50), 150)
	session := func(name, building, status string, created float64, ops int) {
		w.add("test_sessions", name, row{"building_id": w.id(building), "session_name": name, "status": status, "created_at": w.ago(created), "server_seq": ops, "session_data": "{}"})
	}
	session("s1", "tower", "locked", 95, 12)
	session("s2", "tower", "active", 5, 3)
	session("s3", "mill", "in_review", 150, 0) // before the building was entered
	session("s4", "ruin", "locked", 120, 7)
	evidence := func(name, session, file string, more row) {
		r := row{"session_id": w.id(session), "evidence_type": "photo", "file": file, "checksum": strings.Repeat("a", 62) + name, "created_at": w.ago(4)}
		maps.Copy(r, more)
		w.add("evidence", name, r)
	}
	evidence("e1", "s1", "a.jpg", nil)
	evidence("e2", "s1", "", nil)
	evidence("e3", "s2", "b.jpg", row{"flagged_for_review": true, "flag_reason": "blurred", "flagged_at": w.ago(1)})
	w.add("as1851_rules", "r1", row{"rule_code": "R-1", "version": "1.0.0", "rule_name": "One", "provenance": "public", "rule_sha256": "aa", "is_active": false})
	w.add("as1851_rules", "r2", row{"rule_code": "R-1", "version": "2.0.0", "rule_name": "One", "provenance": "public", "rule_sha256": "bb", "is_active": true})
	decide := func(name, session, rule, sha, outcome string, created float64) {
		w.add("classifications", name, row{"session_id": w.id(session), "item_code": "FE-1", "outcome": outcome, "rule_id": w.id(rule),
			"rule_version": w.find("as1851_rules", w.id(rule))["version"], "rule_sha256": sha, "created_at": w.ago(created), "reasons": "[]", "input": "{}"})
	}
	decide("c1", "s1", "r1", "aa", "pass", 95)
	decide("c2", "s1", "r1", "aa", "out_of_tolerance", 95)
	decide("c3", "", "r1", "other", "pass", 3)
	decide("c4", "s4", "r1", "aa", "out_of_tolerance", 119.9)
	defect := func(name, session, state, severity string, notifyBy, acknowledged, shown, repaired string) {
		w.add("defects", name, row{"session_id": w.id(session), "building_id": w.find("test_sessions", w.id(session))["building_id"], "state": state,
			"severity_class": severity, "description": name, "discovered_at": w.ago(9.4), "notify_by": notifyBy, "acknowledged_at": acknowledged,
			"evidence_ids": shown, "repair_evidence_ids": repaired})
	}
	shown := `["` + w.id("e1") + `"]`
	defect("d1", "s1", "open", "critical_defect", w.ago(2.3), "", shown, "[]")
	defect("d2", "s1", "acknowledged", "non_conformance", w.ago(2), w.ago(3), shown, "[]")
	defect("d3", "s1", "repaired", "critical_defect", w.ago(2.5), w.ago(1), "[]", "[]")
	defect("d4", "s3", "open", "non_critical_defect", "", "", shown, "[]")
	defect("d5", "s3", "open", "non_critical_defect", w.ago(-2), "", shown, "[]")
	defect("d6", "s4", "closed", "critical_defect", w.ago(9), "", shown, `["`+w.id("lost")+`"]`)
	certificate := func(number, instrument string, expires float64) {
		w.add("calibration_certificates", number, row{"organisation_id": w.id("acme"), "instrument_id": instrument, "instrument_type": "gauge",
			"certificate_number": number, "calibrated_at": w.ago(expires + 365), "expires_at": w.ago(expires)})
	}
	certificate("n1", "i1", 300)
	certificate("n2", "i1", -65) // the renewal
	certificate("n3", "i2", 1.5)
	for i, name := range []string{"s1", "s2"} {
		w.add("crdt_docs", "", row{"id": i + 1, "key": w.id(name), "n": 1})
	}
	conflict := func(id, doc int, policy string, opened, resolved float64) {
		millis := func(days float64) int64 { return w.time(w.ago(days)).UnixMilli() }
		r := row{"id": id, "doc": doc, "path": fmt.Sprintf("items/%d/result", id), "policy": policy, "value_count": 2, "opened_at": millis(opened), "changed_at": millis(opened), "resolved_at": 0}
		if resolved > 0 {
			r["resolved_at"], r["value_count"] = millis(resolved), 1
		}
		w.add("crdt_conflicts", "", r)
	}
	conflict(1, 1, "worst", 9, 8)
	conflict(2, 1, "worst", 7, 0)
	conflict(3, 1, "min", 7, 2)
	conflict(4, 2, "worst", 1, 0)
	conflict(5, 2, "worst", 3, 0)
	for i, who := range []string{"ann", "", "somebody"} {
		user := w.ids[who]
		if who == "somebody" {
			user = newID(w.t)
		}
		w.add("audit_log", fmt.Sprint("a", i), row{"seq": i + 1, "user_id": user, "action": "update", "resource_type": "buildings",
			"resource_id": w.id("tower"), "new_values": `{"name":"x"}`, "leaf_hash": strings.Repeat("0", 64), "created_at": w.ago(float64(10 * i))})
	}
}
