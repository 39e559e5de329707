package seed

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// defectStates is the only order in which a defect moves.
var defectStates = []string{"open", "acknowledged", "repair_scheduled", "repaired", "verified", "closed"}

// Deadlines by which the owner is told, and when each state is reached, counted
// from discovery. They are demonstration values, not law.
const (
	criticalNotice = 24 * time.Hour
	otherNotice    = 7 * 24 * time.Hour
	acknowledged   = 20 * time.Hour
	repaired       = 9 * 24 * time.Hour
	verified       = 12 * 24 * time.Hour
	closed         = 13 * 24 * time.Hour
)

// defect is one finding on its way to closure.
type defect struct {
	visit   visit
	finding finding
	outcome string
	state   int // index into defectStates
	repair  picture
}

func (m maker) defectID(d defect) string {
	return m.id("defect", d.visit.id+"/"+d.finding.item(), d.visit.start)
}

// defects follow every finding that asks for it. The oldest are closed and the
// newest open, with each state in between.
func (m maker) defects(visits []visit, book rulebook) []defect {
	var out []defect
	for _, v := range visits {
		for _, f := range v.findings {
			if outcome := f.outcomeUnder(book); isDefect(outcome) {
				out = append(out, defect{visit: v, finding: f, outcome: outcome})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b defect) int { return b.visit.start.Compare(a.visit.start) })
	states := len(defectStates)
	for i := range out {
		d := &out[i]
		d.state = min(i*(states+3)/len(out), states-1) // a third of them are closed
		// Nothing is repaired before it was due: a young defect has not come that far.
		for d.state > 0 && d.reached(d.state).After(m.anchor) {
			d.state--
		}
		if d.state >= slices.Index(defectStates, "repaired") {
			r := reading{text: "after repair: in order"}
			d.repair = m.picture(d.visit.place, d.finding.check, r, d.visit.start.Add(repaired))
		}
	}
	return out
}

// reached is when the defect came to a state.
func (d defect) reached(state int) time.Time {
	after := map[string]time.Duration{"acknowledged": acknowledged, "repair_scheduled": 2 * acknowledged, "repaired": repaired, "verified": verified, "closed": closed}
	return d.visit.start.Add(after[defectStates[state]])
}

func (d defect) notifyBy() time.Time {
	if d.outcome == "critical_defect" {
		return d.visit.start.Add(criticalNotice)
	}
	return d.visit.start.Add(otherNotice)
}

// priority keeps the vocabulary of data taken over from elsewhere.
func (d defect) priority() string {
	switch d.outcome {
	case "critical_defect":
		return "critical"
	case "non_critical_defect":
		return "medium"
	}
	return "low"
}

func (m maker) defectRow(d defect) row {
	return row{
		collection: collections.Defects, id: m.defectID(d), at: d.visit.start.Add(6 * time.Hour),
		values: map[string]any{
			collections.FieldSessionID: d.visit.id, collections.FieldBuildingID: m.buildingID(d.visit.place),
			collections.FieldClassificationID: m.classificationID(d.visit, d.finding),
			collections.FieldSeverityClass:    d.outcome, collections.FieldPriority: d.priority(),
			collections.FieldCategory: d.finding.check.rule, collections.FieldRuleCode: d.finding.check.code(),
			collections.FieldDescription: d.finding.check.title + ": " + d.finding.outcome().text,
			collections.FieldState:       defectStates[0], collections.FieldDiscoveredAt: d.visit.start, collections.FieldNotifyBy: d.notifyBy(),
			collections.FieldEvidenceIDs: []string{m.evidenceID(d.visit, d.finding.picture)}, collections.FieldCreatedBy: m.userID(d.visit.team[0]),
		},
	}
}

// writeDefects stores each defect as open and then moves it state by state, as
// people would, so that the audit log tells its story.
func (w *writer) writeDefects(m maker, defects []defect) error {
	for chunk := range slices.Chunk(defects, longRowsPerTransaction) {
		rows := make([]row, len(chunk))
		for i, d := range chunk {
			rows[i] = m.defectRow(d)
		}
		missing, err := w.missing(rows)
		if err != nil {
			return err
		}
		err = w.inTx(func(tx core.App) error {
			if err := saveAll(tx, missing); err != nil {
				return err
			}
			for _, d := range chunk {
				if err := m.move(tx, d); err != nil {
					return fmt.Errorf("defect %s: %w", m.defectID(d), err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		w.added[collections.Defects] += len(missing)
		w.progress(len(chunk))
	}
	return nil
}

// move takes the stored defect from where it is to the state it should have. A
// defect that people have moved on meanwhile stays where they put it.
func (m maker) move(tx core.App, d defect) error {
	record, err := tx.FindRecordById(collections.Defects, m.defectID(d))
	if err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	from := slices.Index(defectStates, record.GetString(collections.FieldState))
	for state := from + 1; from >= 0 && state <= d.state; state++ {
		record.Set(collections.FieldState, defectStates[state])
		at := d.reached(state)
		switch defectStates[state] {
		case "acknowledged":
			record.Set(collections.FieldAcknowledgedAt, at)
			record.Set(collections.FieldAcknowledgedBy, m.userID(manager(d.visit.place.organisation)))
		case "repaired":
			record.Set(collections.FieldRepairedAt, at)
			record.Set(collections.FieldRepairEvidenceIDs, []string{m.evidenceID(d.visit, d.repair)})
		case "verified":
			record.Set(collections.FieldVerifiedAt, at)
		case "closed":
			record.Set(collections.FieldClosedAt, at)
		}
		if err := tx.Save(record); err != nil {
			return fmt.Errorf("move it to %s: %w", defectStates[state], err)
		}
	}
	return nil
}

// buildingStatus is what the open defects of a building ask for. The last
// building has not been assessed yet.
func buildingStatus(defects []defect) map[string]string {
	status := map[string]string{}
	for _, b := range places {
		status[b.name] = "compliant"
	}
	closed := len(defectStates) - 1
	for _, d := range defects {
		name := d.visit.place.name
		switch {
		case d.state == closed:
		case d.outcome == "critical_defect":
			status[name] = "non_compliant"
		case status[name] == "compliant" && d.outcome == "non_critical_defect":
			status[name] = "under_review"
		}
	}
	status[places[len(places)-1].name] = "pending"
	return status
}

// instrument is a calibrated tool with its certificates, oldest first.
type instrument struct {
	organisation, id, kind, laboratory string
	calibratedDaysAgo                  []int
}

// calibrationDays is how long a certificate holds.
const calibrationDays = 365

// instruments include one whose certificate has run out and one that was renewed.
var instruments = []instrument{
	{"contractor", "MAN-014", "manometer", "Metrology Services NSW", []int{500, 140}},
	{"contractor", "ANE-003", "anemometer", "Metrology Services NSW", []int{90}},
	{"contractor", "FRC-021", "force_gauge", "Forcelab Melbourne", []int{420}},
	{"contractor", "SLM-002", "sound_level_meter", "Acoustic Calibrations", []int{30}},
	{"contractor", "FLW-009", "flow_meter", "Hydrometrics QLD", []int{210}},
	{"owner", "MAN-101", "manometer", "Forcelab Melbourne", []int{60}},
}

// certificate is one certificate with its scan.
type certificate struct {
	row  row
	scan picture
}

func (m maker) certificates() []certificate {
	var out []certificate
	for _, i := range instruments {
		for n, days := range i.calibratedDaysAgo {
			calibrated := m.daysAgo(days, 0)
			expires := calibrated.AddDate(0, 0, calibrationDays)
			number := i.id + "/" + strconv.Itoa(n+1)
			out = append(out, certificate{
				scan: certificatePicture(number, i.kind+" "+i.id, calibrated, expires),
				row: row{
					collection: collections.CalibrationCertificates, id: m.id("certificate", number, calibrated), at: calibrated.AddDate(0, 0, 3),
					values: map[string]any{
						collections.FieldOrganisationID: m.organisationID(i.organisation), collections.FieldInstrumentID: i.id,
						collections.FieldInstrumentType: i.kind, collections.FieldCertificateNumber: number,
						collections.FieldCalibratedAt: calibrated, collections.FieldExpiresAt: expires, collections.FieldLaboratory: i.laboratory,
						collections.FieldCreatedBy: m.userID(manager(i.organisation)),
					},
				},
			})
		}
	}
	return out
}
