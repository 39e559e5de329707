package seed

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Config of one run.
type Config struct {
	Seed int64
	Now  func() time.Time // default time.Now
	// Sync sends what devices recorded at some sessions, in order. It MUST bear
	// what it has been given before.
	Sync func(ctx context.Context, batches []Batch) error
	// Progress is told the steps done of all; nil means nobody looks.
	Progress func(done, total int)
}

// A Report is what one run did.
type Report struct {
	Seed   int64   `json:"seed"`
	Day    string  `json:"day"`   // dates count back from here
	Added  int     `json:"added"` // rows of all collections
	Counts []Count `json:"counts"`
	Logins []Login `json:"logins,omitempty"`
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Progress == nil {
		c.Progress = func(int, int) {}
	}
	return c
}

// newWriter counts progress against total steps.
func newWriter(ctx context.Context, app core.App, command string, total int, c Config) *writer {
	done := 0
	return &writer{ctx: ctx, app: app, command: command, added: map[string]int{}, progress: func(n int) {
		done += n
		c.Progress(done, total)
	}}
}

// Keys of the parameters that a run leaves behind.
const (
	paramDemo     = "seed.demo"          // seed and day
	paramComplete = "seed.demo.complete" // the contentVersion that is stored whole
	paramScale    = "seed.scale"
)

// contentVersion changes when the demonstration gets new content, so that
// directories filled before receive it.
const contentVersion = "1"

// Demo stores the demonstration, or what is missing of it. app MUST be
// migrated. Another seed than the one the directory was filled with is an error.
func Demo(ctx context.Context, app core.App, c Config) (Report, error) {
	c = c.withDefaults()
	m, err := remember(app, paramDemo, c)
	if err != nil {
		return Report{}, err
	}
	complete, err := readParam(app, paramComplete)
	if err != nil {
		return Report{}, err
	}
	if complete == contentVersion {
		return demoReport(newWriter(ctx, app, "seed --demo", 1, c), m, -1)
	}
	ruleRows, book, err := m.ruleRows()
	if err != nil {
		return Report{}, err
	}
	visits, err := m.visits()
	if err != nil {
		return Report{}, err
	}
	// The plan is whole before the first write, so that the bar knows its end.
	defects := m.defects(visits, book)
	photographs := m.photographs(visits, defects)
	certificates := m.certificates()
	classified := m.classificationRows(visits, book)
	tables := [][]row{m.organisationRows(), m.userRows(), m.superuserRows(), m.buildingRows(buildingStatus(defects)), m.grantRows(), m.sessionRows(visits)}
	total := len(ruleRows) + 2*len(visits) + len(defects) + len(photographs) + len(certificates) + len(classified) + 1
	for _, rows := range tables {
		total += len(rows)
	}

	w := newWriter(ctx, app, "seed --demo", total, c)
	before, err := w.auditEntries()
	if err != nil {
		return Report{}, err
	}
	for _, rows := range tables {
		if err := w.write(rows); err != nil {
			return Report{}, err
		}
	}
	for _, step := range []func() error{
		func() error { return w.writeRules(ruleRows, book) },
		func() error { return w.sync(m, visits, c) },
		func() error { return w.writePhotographs(photographs) },
		// Anew, since the rules may be stored under other ids.
		func() error { return w.writeClassifications(m.classificationRows(visits, book)) },
		func() error { return w.writeDefects(m, defects) },
		func() error { return w.writeCertificates(certificates) },
		func() error { return w.closeSessions(visits) },
		func() error { return w.revokeToken(m) },
	} {
		if err := step(); err != nil {
			return Report{}, err
		}
	}
	if err := writeParam(app, paramComplete, contentVersion, "DO UPDATE SET v = excluded.v"); err != nil {
		return Report{}, err
	}
	return demoReport(w, m, before)
}

func demoReport(w *writer, m maker, auditBefore int) (Report, error) {
	report, err := w.report(m, auditBefore)
	report.Logins = DemoLogins()
	return report, err
}

// report counts what is there after the run. A negative auditBefore means that
// nothing was to be done.
func (w *writer) report(m maker, auditBefore int) (Report, error) {
	if auditBefore >= 0 {
		after, err := w.auditEntries()
		if err != nil {
			return Report{}, err
		}
		w.added[collections.AuditLog] = after - auditBefore
	}
	counts, err := w.counts()
	if err != nil {
		return Report{}, err
	}
	r := Report{Seed: m.seed, Day: m.anchor.Format(time.DateOnly), Counts: counts}
	for _, c := range counts {
		r.Added += c.Added
	}
	return r, nil
}

// remember returns the maker of this directory: the one kept under key, or a
// new one of today.
func remember(app core.App, key string, c Config) (maker, error) {
	day := c.Now().UTC().Truncate(24 * time.Hour)
	wanted := fmt.Sprintf("%d %s", c.Seed, day.Format(time.DateOnly))
	// Of two runs at once the first one stays.
	if err := writeParam(app, key, wanted, "DO NOTHING"); err != nil {
		return maker{}, err
	}
	kept, err := readParam(app, key)
	if err != nil {
		return maker{}, err
	}
	var keptDay string
	var keptSeed int64
	if _, err := fmt.Sscanf(kept, "%d %s", &keptSeed, &keptDay); err != nil {
		return maker{}, fmt.Errorf("read the seed: %q: %w", kept, err)
	}
	anchor, err := time.Parse(time.DateOnly, keptDay)
	if err != nil {
		return maker{}, fmt.Errorf("read the seed: %w", err)
	}
	if keptSeed != c.Seed {
		return maker{}, fmt.Errorf("%s was filled with --seed %d; use that one, or another data directory for --seed %d", app.DataDir(), keptSeed, c.Seed)
	}
	return maker{seed: keptSeed, anchor: anchor}, nil
}

// readParam returns "" for a parameter that is not there.
func readParam(app core.App, key string) (value string, err error) {
	err = app.NonconcurrentDB().Select("v").From(collections.TableParams).Where(dbx.HashExp{"k": key}).Row(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read parameter %s: %w", key, err)
	}
	return value, nil
}

// writeParam stores a parameter; onConflict says what happens when it is there.
func writeParam(app core.App, key, value, onConflict string) error {
	_, err := app.NonconcurrentDB().NewQuery("INSERT INTO " + collections.TableParams + " (k, v) VALUES ({:k}, {:v}) ON CONFLICT (k) " + onConflict).
		Bind(dbx.Params{"k": key, "v": value}).Execute()
	if err != nil {
		return fmt.Errorf("write parameter %s: %w", key, err)
	}
	return nil
}

// revokedTokenDays is how long the revoked token would have lived; after that
// the server sweeps its row.
const revokedTokenDays = 30

// revokeToken stores one revoked token, unless it has been swept already.
func (w *writer) revokeToken(m maker) error {
	until := m.anchor.AddDate(0, 0, revokedTokenDays)
	at := m.daysAgo(1, 0)
	w.progress(1)
	return w.write([]row{{
		collection: collections.RevokedTokens, id: m.id("revoked token", "tom.kelly", at), at: at,
		values: map[string]any{
			collections.FieldTokenJTI: m.id("jti", "tom.kelly", at), collections.FieldUserID: m.userID("tom.kelly"),
			collections.FieldReason: "tablet reported lost", collections.FieldRevokedBy: m.userID("olivia.hart"),
			collections.FieldRevokedAt: at, collections.FieldExpiresAt: until,
		},
	}})
}
