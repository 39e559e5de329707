package hooks

import (
	"context"
	"fmt"

	"firemode/collections"
	"firemode/sealed"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// findingsMax bounds the findings that are named; all are counted.
const findingsMax = 1000

// SealedCount says how the values of one sealed field are sealed.
type SealedCount struct {
	Collection, Field string
	ByKey             map[string]int // values by the id of their key
	Unreadable        int            // values that no key opens, or that belong elsewhere
}

// CountSealed counts every sealed value by its key. It changes nothing.
func CountSealed(ctx context.Context, app core.App, ring *sealed.Keyring) ([]SealedCount, error) {
	var counts []SealedCount
	err := eachSealedField(app, func(c *core.Collection, f *collections.EncryptedField) error {
		count := SealedCount{Collection: c.Name, Field: f.Name, ByKey: map[string]int{}}
		err := walkSealed(ctx, app, c, f, func(rows []sealedRow) error {
			for _, row := range rows {
				if row.Token == "" {
					continue
				}
				if _, key, err := ring.Inspect(row.Token, row.binding); err == nil {
					count.ByKey[key]++
				} else {
					count.Unreadable++
				}
			}
			return nil
		})
		counts = append(counts, count)
		return err
	})
	return counts, err
}

// Reasons of a SealedFinding.
const (
	reasonNoKey     = "no key opens it: it was damaged, or its key is missing"
	reasonElsewhere = "it was sealed for another record or field"
	reasonDigest    = "its blind index is not that of the value"
	reasonLeftover  = "it has a blind index but no value"
)

// A SealedFinding is one sealed value that is not as it was written.
type SealedFinding struct {
	Collection string `json:"collection"`
	Field      string `json:"field"`
	Record     string `json:"record"`
	Reason     string `json:"reason"`
}

// SealedReport is the outcome of [VerifySealed].
type SealedReport struct {
	Values     int             `json:"values"`     // read
	Bad        int             `json:"bad"`        // of them, all counted
	Unreadable int             `json:"unreadable"` // of the bad ones: those that do not open
	Findings   []SealedFinding `json:"findings"`   // the first 1,000
}

// VerifySealed opens every sealed value and checks its blind index. It changes
// nothing and may run beside a server that writes and a rotation. progress,
// which may be nil, is called after each batch.
func VerifySealed(ctx context.Context, app core.App, ring *sealed.Keyring, progress func(read, total int)) (SealedReport, error) {
	report := SealedReport{Findings: []SealedFinding{}}
	total, err := countFilled(ctx, app)
	if err != nil {
		return report, err
	}
	err = eachSealedField(app, func(c *core.Collection, f *collections.EncryptedField) error {
		return walkSealed(ctx, app, c, f, func(rows []sealedRow) error {
			for _, row := range rows {
				report.Values++
				reason := judgeSealed(ring, f, row)
				if reason == "" {
					continue
				}
				if reason == reasonNoKey || reason == reasonElsewhere {
					report.Unreadable++
				}
				if report.Bad++; len(report.Findings) < findingsMax {
					report.Findings = append(report.Findings, SealedFinding{c.Name, f.Name, row.ID, reason})
				}
			}
			if progress != nil {
				progress(report.Values, max(total, report.Values))
			}
			return nil
		})
	})
	return report, err
}

// judgeSealed returns what is wrong with a row, "" for nothing.
func judgeSealed(ring *sealed.Keyring, f *collections.EncryptedField, row sealedRow) string {
	if row.Token == "" {
		return reasonLeftover
	}
	plain, key, err := ring.Inspect(row.Token, row.binding)
	switch {
	case err != nil && key == "":
		return reasonNoKey
	case err != nil:
		return reasonElsewhere
	case f.BlindIndex != "" && row.Digest != ring.BlindIndexUnder(key, f.Scope, plain):
		return reasonDigest
	}
	return ""
}

// countFilled is the number of rows that VerifySealed will read.
func countFilled(ctx context.Context, app core.App) (total int, err error) {
	err = eachSealedField(app, func(c *core.Collection, f *collections.EncryptedField) error {
		_, filled := sealedColumns(f)
		n := 0
		err := app.ConcurrentDB().Select("count(*)").From(c.Name).Where(dbx.NewExp(filled)).WithContext(ctx).Row(&n)
		if err != nil {
			return fmt.Errorf("count %s.%s: %w", c.Name, f.Name, err)
		}
		total += n
		return nil
	})
	return total, err
}
