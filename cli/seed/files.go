package seed

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"firemode/audit"
	"firemode/collections"
	"firemode/evidence"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/filesystem"
)

// photograph is one piece of evidence to be.
type photograph struct {
	row     row
	picture picture
}

func (m maker) evidenceID(v visit, p picture) string {
	return m.id("evidence", v.id+"/"+p.sha256, v.start.Add(time.Hour))
}

// photographs are the pictures of every fault and of every repair.
func (m maker) photographs(visits []visit, defects []defect) []photograph {
	var out []photograph
	add := func(v visit, f finding, p picture, kind string, taken time.Time, note string) {
		out = append(out, photograph{picture: p, row: row{
			collection: collections.Evidence, id: m.evidenceID(v, p), at: taken.Add(time.Hour),
			values: map[string]any{
				collections.FieldSessionID: v.id, collections.FieldEvidenceType: kind,
				collections.FieldMetadata:   map[string]any{"item": f.item(), "note": note, "device": deviceName(v.team[0])},
				collections.FieldCapturedAt: taken, collections.FieldCreatedBy: m.userID(v.team[0]),
				collections.FieldRetainUntil: evidence.RetainUntil(taken),
			},
		}})
	}
	for _, v := range visits {
		for _, f := range v.findings {
			if f.picture.content != nil {
				add(v, f, f.picture, "photo", v.start.Add(time.Hour), f.outcome().text)
			}
		}
	}
	for _, d := range defects {
		if d.repair.content != nil {
			add(d.visit, d.finding, d.repair, "repair_photo", d.visit.start.Add(repaired), "after repair")
		}
	}
	if len(out) > 0 { // one that an officer questions, one that a court asked to keep
		flagged := out[0].row
		flagged.values[collections.FieldFlaggedForReview] = true
		flagged.values[collections.FieldFlagReason] = "reading not legible, please take it again"
		flagged.values[collections.FieldFlaggedAt] = flagged.at.AddDate(0, 0, 2)
		flagged.values[collections.FieldFlaggedBy] = m.userID("olivia.hart")
		out[len(out)/2].row.values[collections.FieldLegalHold] = true
	}
	return out
}

// writePhotographs places the bytes and saves the records.
func (w *writer) writePhotographs(photographs []photograph) error {
	for chunk := range slices.Chunk(photographs, longRowsPerTransaction) {
		rows := make([]row, len(chunk))
		for i, p := range chunk {
			rows[i] = p.row
		}
		missing, err := w.missing(rows)
		if err != nil {
			return err
		}
		isStored := func(p photograph) bool {
			return !slices.ContainsFunc(missing, func(r row) bool { return r.id == p.row.id })
		}
		fresh := slices.DeleteFunc(slices.Clone(chunk), isStored)
		if len(fresh) > 0 {
			if err := w.inTx(func(tx core.App) error { return placeAll(tx, fresh) }); err != nil {
				return err
			}
		}
		w.added[collections.Evidence] += len(fresh)
		w.progress(len(chunk))
	}
	return nil
}

func placeAll(tx core.App, photographs []photograph) error {
	for _, p := range photographs {
		if err := p.place(tx); err != nil {
			return fmt.Errorf("evidence %s: %w", p.row.id, err)
		}
	}
	return nil
}

func (p photograph) place(tx core.App) error {
	staged, err := evidence.Stage(tx, bytes.NewReader(p.picture.content), collections.EvidenceMaxBytes)
	if err != nil {
		return err
	}
	defer staged.Discard()
	record, err := p.row.record(tx)
	if err != nil {
		return err
	}
	return staged.Save(tx, record)
}

// writeCertificates saves the certificates with their scans.
func (w *writer) writeCertificates(certificates []certificate) error {
	for _, c := range certificates {
		missing, err := w.missing([]row{c.row})
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			file, err := filesystem.NewFileFromBytes(c.scan.content, "certificate.png")
			if err != nil {
				return fmt.Errorf("scan of certificate %s: %w", c.row.id, err)
			}
			file.Name = c.scan.sha256 + ".png" // PocketBase's own name is random
			c.row.values[collections.FieldFile] = file
			if err := w.inTx(func(tx core.App) error { return saveAll(tx, missing) }); err != nil {
				return err
			}
			w.added[collections.CalibrationCertificates]++
		}
		w.progress(1)
	}
	return nil
}

// writeClassifications saves decisions together with the audit entry that each
// one names.
func (w *writer) writeClassifications(rows []row) error {
	for chunk := range slices.Chunk(rows, rowsPerTransaction) {
		missing, err := w.missing(chunk)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			err = w.inTx(func(tx core.App) error {
				for _, r := range missing {
					id, err := audit.Append(tx, audit.Entry{
						Action: "classify", ResourceType: collections.Classifications, ResourceID: r.id,
						New: map[string]any{
							collections.FieldItemCode: r.values[collections.FieldItemCode], collections.FieldOutcome: r.values[collections.FieldOutcome],
							collections.FieldRuleSHA256: r.values[collections.FieldRuleSHA256],
						},
					})
					if err != nil {
						return err
					}
					r.values[collections.FieldAuditID] = id
				}
				return saveAll(tx, missing)
			})
			if err != nil {
				return err
			}
		}
		w.added[collections.Classifications] += len(missing)
		w.progress(len(chunk))
	}
	return nil
}
