package adminui_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"firemode/adminui"
	"firemode/collections"
	"firemode/pgsync"
)

const summaryPath = "/api/firemode/compliance/summary"

func (w *world) summary(token string) adminui.Summary {
	w.t.Helper()
	status, raw, header := w.raw("GET", summaryPath, token, nil)
	if status != http.StatusOK {
		w.t.Fatalf("GET %s: got %d %s, want 200", summaryPath, status, raw)
	}
	if got := header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("Cache-Control: got %q, want no-store", got)
	}
	var s adminui.Summary
	if err := json.Unmarshal(raw, &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func counts(t adminui.Tally) map[string]int64 {
	out := map[string]int64{}
	for _, c := range t.By {
		out[c.Value] = c.Count
	}
	return out
}

func TestSummaryCountsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	for _, email := range []string{adminEmail, officerEmail, auditorEmail} {
		s := w.summary(w.token(email))
		if got := counts(s.Buildings); s.Buildings.Total != 6 || got["compliant"] != 2 || got["non_compliant"] != 1 || got["under_review"] != 1 || got["pending"] != 2 {
			t.Errorf("%s: buildings: got %d %v, want 6: 2 compliant, 1 non compliant, 1 under review, 2 pending, the deleted one left out", email, s.Buildings.Total, got)
		}
		if got := counts(s.TestSessions); s.TestSessions.Total != 4 || got["active"] != 2 || got["in_review"] != 1 || got["locked"] != 1 {
			t.Errorf("%s: sessions: got %d %v, want 4: 2 active, 1 in review, 1 locked", email, s.TestSessions.Total, got)
		}
		if got := counts(s.Defects.Tally); s.Defects.Total != 3 || got["critical_defect"] != 2 || got["non_conformance"] != 1 || got["non_critical_defect"] != 0 {
			t.Errorf("%s: defects: got %d %v, want the 3 open ones", email, s.Defects.Total, got)
		}
		if s.Defects.Overdue != 1 {
			t.Errorf("%s: overdue notices: got %d, want 1", email, s.Defects.Overdue)
		}
		if want := (adminui.Conflicts{Unresolved: 2, Sessions: 1}); s.Conflicts != want {
			t.Errorf("%s: conflicts: got %+v, want %+v", email, s.Conflicts, want)
		}
		if want := (adminui.EvidenceCount{Total: 1, FlaggedForReview: 1, Bytes: 2_500_000}); s.Evidence != want {
			t.Errorf("%s: evidence: got %+v, want %+v", email, s.Evidence, want)
		}
		if s.Mirror.State != adminui.MirrorOff {
			t.Errorf("%s: mirror: got %q, want off", email, s.Mirror.State)
		}
		if len(s.Audit.Latest) != 10 || s.Audit.Latest[0].Seq < s.Audit.Latest[9].Seq+9 || s.Audit.Latest[0].Action != "login" {
			t.Errorf("%s: audit: got %+v, want the newest 10 entries, this login first", email, s.Audit.Latest)
		}
	}
}

func TestSummaryOfAnEmptySystem(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t, adminui.Config{})
	s := w.summary(w.token(officerEmail))
	if s.Buildings.Total != 0 || len(s.Buildings.By) != 4 || s.Conflicts != (adminui.Conflicts{}) || s.Evidence.Total != 0 {
		t.Errorf("empty system: got %+v, want zeros with every status listed", s)
	}
}

func TestSummaryIsForOfficers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	if status, _ := w.do("GET", summaryPath, "", nil); status != http.StatusUnauthorized {
		t.Errorf("guest: got %d, want 401", status)
	}
	if status, _ := w.do("GET", summaryPath, w.login(collections.Users, "ines@example.com"), nil); status != http.StatusForbidden {
		t.Errorf("inspector: got %d, want 403", status)
	}
	s := w.summary(w.login(collections.Users, "olga@example.com"))
	if s.Buildings.Total != 5 || s.TestSessions.Total != 4 {
		t.Errorf("officer of one organisation: got %d buildings and %d sessions, want 5 and 4", s.Buildings.Total, s.TestSessions.Total)
	}
	for _, entry := range s.Audit.Latest {
		if entry.UserID == "" || strings.HasPrefix(entry.UserRole, "superuser") {
			t.Errorf("officer of one organisation sees entry %+v, want those of its people only", entry)
		}
	}
	olga, err := w.app.FindAuthRecordByEmail(collections.Users, "olga@example.com")
	if err != nil {
		t.Fatal(err)
	}
	olga.Set(collections.FieldOrganisationID, w.otherOrg)
	if err := w.app.Save(olga); err != nil {
		t.Fatal(err)
	}
	s = w.summary(w.login(collections.Users, "olga@example.com"))
	if s.Buildings.Total != 1 || s.TestSessions.Total != 0 || s.Defects.Total != 0 || s.Evidence.Total != 0 || s.Conflicts.Unresolved != 0 || len(s.Audit.Latest) == 0 {
		t.Errorf("officer of the other organisation: got %+v, want its one building and olga's own logins", s)
	}
}

func TestSummaryAsksTheProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{
		Mirror: func() pgsync.Status {
			return pgsync.Status{State: pgsync.StateLive, BacklogEntries: 12, LagSeconds: 3, LastError: "host db.internal"}
		},
	})
	s := w.summary(w.token(adminEmail))
	if s.Mirror.BacklogEntries != 12 || s.Mirror.State != adminui.MirrorBehind {
		t.Errorf("mirror: got %+v, want 12 waiting entries", s.Mirror)
	}
	if _, raw, _ := w.raw("GET", summaryPath, w.token(adminEmail), nil); strings.Contains(string(raw), "db.internal") {
		t.Error("summary: it names the mirror's host")
	}
}

func TestMirrorStates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status pgsync.Status
		want   string
	}{
		{pgsync.Status{State: pgsync.StateOff}, adminui.MirrorOff},
		{pgsync.Status{State: pgsync.StateLive}, adminui.MirrorCurrent},
		{pgsync.Status{State: pgsync.StateLive, BacklogEntries: 1}, adminui.MirrorBehind},
		{pgsync.Status{State: pgsync.StateResync}, adminui.MirrorBehind},
		{pgsync.Status{State: pgsync.StateLive, BacklogEntries: 1, Stalled: true}, adminui.MirrorFailing},
		{pgsync.Status{State: pgsync.StateStandby}, adminui.MirrorStandby},
		{pgsync.Status{State: pgsync.StateConnecting}, adminui.MirrorFailing},
		{pgsync.Status{State: pgsync.StateHeld}, adminui.MirrorFailing},
		{pgsync.Status{State: pgsync.StateStopped}, adminui.MirrorFailing},
		{pgsync.Status{State: "new one"}, adminui.MirrorFailing},
	} {
		if got := adminui.MirrorOf(test.status).State; got != test.want {
			t.Errorf("%+v: got %s, want %s", test.status, got, test.want)
		}
	}
}

// BenchmarkConflicts counts the marks of as many documents as one look searches.
func BenchmarkConflicts(b *testing.B) {
	w := newWorld(b, adminui.Config{})
	document := `{"items":{` + strings.TrimSuffix(strings.Repeat(`"FE-XXX":{"result":{"$value":"pass","$policy":"worst","$conflict":false,"$entries":[{"value":"pass","dot":"d0000001.7","time":"0199a3f2b1c4-0002"}]}},`, 140), ",") + `}}`
	for range 500 {
		s := w.add(collections.TestSessions, map[string]any{"building_id": w.ids[collections.Buildings], "session_name": "x", "status": "active"})
		if _, err := w.app.DB().NewQuery("UPDATE test_sessions SET session_data = {:d} WHERE id = {:id}").Bind(map[string]any{"d": document, "id": s.Id}).Execute(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(document)), "bytes/document")
	for b.Loop() {
		w.summary(w.token(adminEmail))
	}
}
