package hooks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// eachSealedField calls fn for each sealed field of every stored collection, by name.
func eachSealedField(app core.App, fn func(*core.Collection, *collections.EncryptedField) error) error {
	all, err := app.FindAllCollections(core.CollectionTypeBase, core.CollectionTypeAuth)
	if err != nil {
		return fmt.Errorf("find collections: %w", err)
	}
	slices.SortFunc(all, func(a, b *core.Collection) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range all {
		for _, f := range collections.SealedFields(c) {
			if err := fn(c, f); err != nil {
				return err
			}
		}
	}
	return nil
}

type sealedRow struct {
	ID      string `db:"id"`
	Token   string `db:"token"`
	Digest  string `db:"digest"` // the blind index; empty for a field without one
	binding string
}

// sealedColumns are the columns of a field as walkSealed selects them, and the
// condition under which a row has any of them.
func sealedColumns(f *collections.EncryptedField) (digest, filled string) {
	if f.BlindIndex == "" {
		return "('')", "[[" + f.Name + "]] != ''"
	}
	return "[[" + f.BlindIndex + "]]", "([[" + f.Name + "]] != '' OR [[" + f.BlindIndex + "]] != '')"
}

// walkSealed hands on every row with a sealed value of a field, or with a blind
// index of one, in batches, by id.
func walkSealed(ctx context.Context, app core.App, c *core.Collection, f *collections.EncryptedField, fn func([]sealedRow) error) error {
	digest, filled := sealedColumns(f)
	last := ""
	for {
		var rows []sealedRow
		err := app.ConcurrentDB().Select(collections.FieldID, "[["+f.Name+"]] AS token", digest+" AS digest").From(c.Name).
			Where(dbx.NewExp("[[id]] > {:last} AND "+filled, dbx.Params{"last": last})).
			OrderBy(collections.FieldID).Limit(resealBatch).WithContext(ctx).All(&rows)
		if err != nil {
			return fmt.Errorf("read %s.%s: %w", c.Name, f.Name, err)
		}
		if len(rows) == 0 {
			return nil
		}
		for i := range rows {
			rows[i].binding = f.Scope + "." + rows[i].ID
		}
		if err := fn(rows); err != nil {
			return err
		}
		last = rows[len(rows)-1].ID
	}
}
