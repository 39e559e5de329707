package pgsync

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

const (
	canarySealed = "canary 0412 345 678" // plain text where ciphertext belongs
	canaryHidden = "canary-hidden"       // see addParent
	canaryOpen   = "canary-in-the-open"  // an ordinary text, which must be found by the same search
)

// spellings are the forms in which text could go over a wire: as it is, in hexadecimal, and in base64 at any place of a
// longer text.
func spellings(text string) []string {
	list := []string{text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text)))}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			inner := enc.EncodeToString(append(make([]byte, shift), text...))
			list = append(list, inner[4:len(inner)-4]) // what the neighbours cannot change
		}
	}
	return list
}

func found(haystacks []string, text string) bool {
	return slices.ContainsFunc(haystacks, func(h string) bool {
		return slices.ContainsFunc(spellings(text), func(s string) bool { return strings.Contains(h, s) })
	})
}

// Plain text that somebody wrote into a sealed column, and hidden columns, are in no byte that goes to PostgreSQL, and so
// in nothing that it logs, on every way a row can take: log, salvage, comparison, quarantine.
func TestPlaintextIsNeverOnTheWire(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	server := pgtest.NewServer(t)
	dsn := server.URL("postgres")
	conn := pg(t, dsn)
	for _, setting := range []string{"log_statement = 'all'", "log_min_error_statement = 'debug5'", "log_error_verbosity = 'verbose'", "log_parameter_max_length_on_error = -1"} {
		pgExec(t, conn, "ALTER SYSTEM SET "+setting)
	}
	pgExec(t, conn, "SELECT pg_reload_conf()")
	eventually(t, "the server logs everything", func() bool { return one[string](t, pg(t, dsn), "SHOW log_statement") == "all" })

	wire := &recorder{}
	w := manual(t, app, Config{DSN: dsn, Dial: wire.dial})
	leak := func(id string) {
		run(t, app, "UPDATE parents SET secret={:s} WHERE id={:id}", dbx.Params{"id": id, "s": canarySealed})
	}
	parent := addParent(t, app, canaryOpen)
	leak(parent) // folded with the insert
	drain(t, w)
	leak(addParent(t, app, "in a batch"))
	addKid(t, app, nowhere, "") // salvaged with it
	run(t, app, "UPDATE parents SET kind='outside' WHERE id={:id}", dbx.Params{"id": addParent(t, app, "another")})
	drain(t, w)
	// The row is compared, tried again from quarantine, and written beside a schema change.
	if _, _, err := Reconcile(app, small); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	w.retryAt = time.Time{}
	drain(t, w)
	change1(t, app, "parents", func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: "more"}) })
	leak(parent)
	drain(t, w)
	// Beside a NUL, beside bytes that are no text, inside something that looks like a token.
	for _, worse := range []string{"{:s}||char(0)", "CAST(x'ff' AS TEXT)||{:s}", "'gAAAA'||{:s}"} {
		run(t, app, "UPDATE parents SET secret="+worse+" WHERE id={:id}", dbx.Params{"id": parent, "s": canarySealed})
		drain(t, w)
	}
	// In a row that is refused for something else before anybody looks at the sealed column.
	for _, other := range []string{"name='a'||char(0)", "name=CAST(x'ff' AS TEXT)", "meta='{'", "seen='soon'"} {
		run(t, app, "UPDATE parents SET "+other+", secret={:s} WHERE id={:id}", dbx.Params{"id": addParent(t, app, "p"), "s": canarySealed})
		drain(t, w)
	}
	// A mirror that begins anew reads all of it from the table.
	pgExec(t, conn, "DROP SCHEMA fm_sync, fm_mirror CASCADE")
	w.disconnect(deadline(t))
	drain(t, w)
	mustEqual(t, app, dsn)

	sent := wire.texts()
	log := []string{server.Log()}
	for where, text := range map[string][]string{"the wire": sent, "the server's log": log} {
		if !found(text, canaryOpen) {
			t.Errorf("an ordinary value is not found in %s: the search proves nothing", where)
		}
		for _, canary := range []string{canarySealed, canaryHidden} {
			if found(text, canary) {
				t.Errorf("%q is in %s", canary, where)
			}
		}
	}
}

// The search finds what it must in every spelling.
func TestCanariesAreFoundInEverySpelling(t *testing.T) {
	t.Parallel()
	for shift := range 4 {
		text := strings.Repeat("x", shift) + canarySealed + "tail"
		for name, spelt := range map[string]string{
			"plain": text, "hex": hex.EncodeToString([]byte(text)), "base64": base64.StdEncoding.EncodeToString([]byte(text)),
			"base64 for addresses": base64.URLEncoding.EncodeToString([]byte(text)),
		} {
			if !found([]string{spelt}, canarySealed) {
				t.Errorf("%s after %d bytes: not found in %s", name, shift, spelt)
			}
		}
	}
	if found([]string{"nothing of the kind"}, canarySealed) {
		t.Error("found where it is not")
	}
}
