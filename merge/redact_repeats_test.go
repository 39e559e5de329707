package merge

import (
	"strings"
	"testing"

	"firemode/crdt"
)

// A value is erased under every name that its act has: those that the log knows with the
// redaction, those that a device gives it which has not heard, when it arrives.
func TestErasedValuesDoNotComeBack(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		before, after bool // the act is issued again
		reversed      bool // what was issued again is erased, not the original
		lapsed        bool // what arrives afterwards goes to quarantine
		hold          bool // and finds evidence under hold
	}{
		"again before":             {before: true},
		"again before, reversed":   {before: true, reversed: true},
		"again afterwards":         {after: true},
		"twice":                    {before: true, after: true},
		"afterwards to quarantine": {after: true, lapsed: true},
		"afterwards under hold":    {after: true, hold: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, app := service(t, Config{})
			id := session(t, app)
			lost := newTablet(t, s, id, "anna", "ipad")
			first := lost.request(put("items/A/remark", `"Jane Citizen"`))
			original, err := crdt.ParseOp(first.Lines[0])
			if err != nil {
				t.Fatal(err)
			}
			// again is sent by a further device, which also says something of its own there.
			again := func(device string) string {
				d := newTablet(t, s, id, "anna", device)
				op, _ := original.Reissue(crdt.Dot{}, 0, func(x crdt.Dot) (crdt.Dot, bool) { return x, true })
				other := op
				other.Val = `"Stays as it is"`
				req := d.request(op, other)
				req.Lapsed = row.lapsed
				if _, err := send(s, req); err != nil {
					t.Fatal(err)
				}
				return d.actor + ".1"
			}
			if _, err := send(s, first); err != nil {
				t.Fatal(err)
			}
			target := original.Dot.String()
			if row.before {
				if dot := again("second"); row.reversed {
					target = dot
				}
			}
			if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{target}, Reason: "a name"}); err != nil {
				t.Fatal(err)
			}
			if found(t, app, "Jane") {
				t.Error("the redaction left the value under another name")
			}
			if row.hold {
				underHold(t, app, id)
			}
			if row.after {
				again("third")
			}
			if found(t, app, "Jane") != row.hold {
				t.Errorf("the value is in the database: %t, want %t", !row.hold, row.hold)
			}
			if !found(t, app, "Stays as it is") {
				t.Error("another act was erased with it")
			}
			sound(t, s, id)
			reports := 1
			if row.after && !row.hold {
				reports++
			}
			var actors []string
			if err := app.DB().NewQuery("SELECT user_id || '/' || user_role FROM audit_log WHERE action = 'redact' ORDER BY seq").Column(&actors); err != nil {
				t.Fatal(err)
			}
			if len(actors) != reports || strings.HasPrefix(actors[0], "/") || reports == 2 && actors[1] != "/system" {
				t.Errorf("audit entries of redactions: got %v, want %d, the last on the system's account", actors, reports)
			}
		})
	}
}
