package rules

import "encoding/json"

// A Pack is one set of rules under one standard and edition.
type Pack struct {
	Pack         string               `json:"pack"`
	Title        string               `json:"title"`
	Edition      string               `json:"edition"`
	Jurisdiction []string             `json:"jurisdiction"` // ISO 3166-1 or 3166-2
	Tolerances   map[string]Tolerance `json:"tolerances"`   // by frequency (P1M, P1Y)
	Sources      map[string]string    `json:"sources"`      // what a rule's source stands for
	Rules        []Rule               `json:"rules"`
}

// A Tolerance is how far either side of its due date an activity may lie. The
// unit is data: working days and calendar months count differently.
type Tolerance struct {
	Value int    `json:"value"`
	Unit  string `json:"unit"` // working_day, day or month
}

// Provenance of a rule.
const (
	ProvenancePublic       = "public"       // number or frequency is published; Basis says which
	ProvenanceIllustrative = "illustrative" // a plausible example
	ProvenanceCustomer     = "customer"     // typed in or imported by the customer
)

// A Rule decides one kind of finding. Versions are immutable.
type Rule struct {
	Code        string    `json:"rule_code"`
	Version     string    `json:"version"` // semver 2.0.0
	Pack        string    `json:"pack,omitempty"`
	Title       string    `json:"title"`
	Description string    `json:"description"`
	Section     string    `json:"section"` // number in the standard; never its text
	Pointer     string    `json:"pointer"` // where to look, in our own words
	Status      string    `json:"status"`  // active or draft
	Equipment   string    `json:"equipment"`
	Frequency   string    `json:"frequency"` // ISO 8601 period
	Provenance  string    `json:"provenance"`
	Source      string    `json:"source,omitempty"` // key into the pack's sources
	Basis       string    `json:"basis"`            // what is published and what is ours
	Effective   Effective `json:"effective"`
	Inputs      []Input   `json:"inputs"`
	Decide      []Clause  `json:"decide"`
	Evidence    Evidence  `json:"evidence"`
	SLAPolicy   string    `json:"sla_policy"`
}

// Effective is the time a rule applies to: from inclusive, to exclusive; a nil
// to means until further notice.
type Effective struct {
	From string  `json:"from"` // YYYY-MM-DD
	To   *string `json:"to"`
}

// Types of an input.
const (
	TypeQuantity = "quantity" // number with a unit
	TypeCount    = "count"    // whole number without a unit
	TypeBoolean  = "boolean"
	TypeChoice   = "choice" // one of Options
)

// An Input is one fact the decision needs. A value outside Min..Max is
// physically impossible and refused; an optional input has a Default.
type Input struct {
	Name     string          `json:"name"`
	Label    string          `json:"label"`
	Type     string          `json:"type"`
	Unit     string          `json:"unit,omitempty"` // quantity only; see Units
	From     string          `json:"from"`           // measured, baseline, context or record
	Min      *json.Number    `json:"min,omitempty"`
	Max      *json.Number    `json:"max,omitempty"`
	Decimals *int            `json:"decimals,omitempty"` // digits that count, quantity only
	Options  []string        `json:"options,omitempty"`
	Required bool            `json:"required"`
	Default  json.RawMessage `json:"default,omitempty"`
}

// A Clause gives Outcome when When holds, or always when Else is set. Label is
// the regime's own word for the outcome, where it has one.
type Clause struct {
	When    string `json:"when,omitempty"`
	Else    bool   `json:"else,omitempty"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	Label   string `json:"label,omitempty"`
}

// Evidence is what a finding under this rule must carry.
type Evidence struct {
	MinPhotos  int    `json:"min_photos"`
	Instrument string `json:"instrument,omitempty"` // type of a calibrated instrument
}

// Outcomes lists what a clause may decide.
func Outcomes() []string {
	return []string{
		"pass", "non_conformance", "non_critical_defect", "critical_defect",
		"out_of_tolerance", "unable_to_test", "unclassified",
	}
}

// Units lists the units of quantities. A measurement in another unit of the same
// kind is converted before it is compared.
func Units() []string {
	return []string{"Pa", "kPa", "psi", "L/s", "L/min", "N", "m/s", "mm", "kg", "V", "s", "min", "%", "dB(A)"}
}
