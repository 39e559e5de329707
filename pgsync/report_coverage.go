package pgsync

import (
	"context"
	"fmt"
	"slices"

	"firemode/collections"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// A gap is something that PostgreSQL does not have, or fm_report does not show.
type gap struct {
	collection string
	field      string // "": the whole table
	mirrored   bool
	reason     string
	note       string
}

// Reasons of a gap.
const (
	gapCache   = "cache"   // can be computed anew
	gapSecret  = "secret"  // must not leave SQLite
	gapHidden  = "hidden"  // for the server alone
	gapSealed  = "sealed"  // ciphertext, and no reader has the key
	gapDerived = "derived" // follows from what is mirrored
	gapName    = "name"    // its name is taken
	gapAbsent  = "absent"  // this database has no such table
)

// unmirrored are the tables that stay behind as a whole.
var unmirrored = []gap{
	{collections.IdempotencyKeys, "", false, gapCache, "answers kept for a day, for requests that are repeated"},
	{collections.TableCRDTHeads, "", false, gapDerived, "the newest operation of each actor is in " + collections.TableCRDTOps},
	{collections.TableCRDTRedactions, "", false, gapDerived, "the operation that ordered an erasure is in " + collections.TableCRDTOps},
	{collections.TableCRDTSnaps, "", false, gapCache, "computed states of documents"},
	{collections.TableParams, "", false, gapSecret, "facts and keys of the installation"},
	{collections.Superusers, "", false, gapSecret, "accounts of administrators"},
	{core.CollectionNameMFAs, "", false, gapSecret, "sign-ins that wait for a second factor"},
	{core.CollectionNameOTPs, "", false, gapSecret, "one-time passwords"},
	{core.CollectionNameAuthOrigins, "", false, gapHidden, "devices that signed in"},
	{core.CollectionNameExternalAuths, "", false, gapHidden, "linked accounts"},
	{collections.TableCRDTDocs, "n", false, gapDerived, "the greatest n in " + collections.TableCRDTOps},
	{collections.TableCRDTActors, "pubkey", false, gapHidden, "public key of the device"},
}

// declaredGaps are those that the declared schema has, whatever the database holds.
func declaredGaps(tables []*Table) []gap {
	gaps := slices.Clone(unmirrored)
	mirrored := func(name string) bool {
		return slices.ContainsFunc(tables, func(t *Table) bool { return t.Name == name })
	}
	for _, c := range collections.All() {
		if !slices.Contains(collections.Mirrored(), c.Name) {
			continue // in unmirrored
		}
		if !mirrored(c.Name) {
			gaps = append(gaps, gap{c.Name, "", false, gapAbsent, "this database has no such table"})
			continue
		}
		for _, f := range c.Fields {
			switch {
			case f.Type() == core.FieldTypePassword:
				gaps = append(gaps, gap{c.Name, f.GetName(), false, gapSecret, "hash of a password"})
			case f.GetName() == core.FieldNameTokenKey:
				gaps = append(gaps, gap{c.Name, f.GetName(), false, gapSecret, "part of the key of tokens"})
			case f.GetHidden() && f.Type() != encryptedFieldType:
				gaps = append(gaps, gap{c.Name, f.GetName(), false, gapHidden, "for the server alone"})
			}
		}
	}
	return gaps
}

func sameCoverage(ctx context.Context, conn *pgx.Conn, want []gap) (bool, error) {
	rows, err := conn.Query(ctx, `SELECT collection, field, mirrored, reason, note FROM fm_sync.report_coverage ORDER BY collection, field`)
	if err != nil {
		return false, err
	}
	have, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g gap, err error) {
		err = row.Scan(&g.collection, &g.field, &g.mirrored, &g.reason, &g.note)
		return g, err
	})
	if err != nil {
		return false, fmt.Errorf("read coverage: %w", err)
	}
	return slices.Equal(have, want), nil
}

func (x *txn) saveCoverage(gaps []gap) {
	n := len(gaps)
	colls, fields, reasons, notes := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	mirrored := make([]bool, n)
	for i, g := range gaps {
		colls[i], fields[i], mirrored[i], reasons[i], notes[i] = g.collection, g.field, g.mirrored, g.reason, g.note
	}
	x.batch.Queue("DELETE FROM fm_sync.report_coverage")
	x.batch.Queue(sqlReportCoverage, colls, fields, mirrored, reasons, notes)
}
