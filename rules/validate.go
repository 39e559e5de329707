package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Limits of a rule, generous against the largest starter rule (5 inputs, 4 clauses).
const (
	inputsMax      = 50
	clausesMax     = 50
	conditionMax   = 1000 // characters
	evidenceMax    = 50
	standardParts  = 14 // sections of AS 1851-2012
	decimalsMax    = 6
	standardAS1851 = "as1851-2012"
)

var (
	codePattern      = regexp.MustCompile(`^[A-Z][A-Z0-9]*(-[A-Z0-9]+)+$`)
	packPattern      = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	namePattern      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	frequencyPattern = regexp.MustCompile(`^P[1-9][0-9]?[DWMY]$`)
	// As published at semver.org, without build metadata: two builds of one
	// version would have the same precedence.
	semverPattern = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?$`)
)

// problems collects mistakes under one name.
type problems struct {
	name string
	list []error
}

func (p *problems) add(format string, args ...any) {
	p.list = append(p.list, fmt.Errorf(p.name+": "+format, args...))
}

// Validate reports every mistake of the pack and its rules together.
func (p Pack) Validate() error {
	found := problems{name: "pack " + p.Pack}
	if !packPattern.MatchString(p.Pack) {
		found.add("its name is not of the form as1851-2012")
	}
	if p.Title == "" || p.Edition == "" || len(p.Jurisdiction) == 0 || len(p.Rules) == 0 {
		found.add("title, edition, jurisdiction and rules must be set")
	}
	for frequency, t := range p.Tolerances {
		if !frequencyPattern.MatchString(frequency) || t.Value < 1 || !slices.Contains([]string{"working_day", "day", "month"}, t.Unit) {
			found.add("tolerance of %q is not a number of working_day, day or month", frequency)
		}
	}
	seen := map[string]bool{}
	for _, r := range p.Rules {
		if seen[r.Code+"@"+r.Version] {
			found.add("rule %s version %s twice", r.Code, r.Version)
		}
		seen[r.Code+"@"+r.Version] = true
		if _, ok := p.Tolerances[r.Frequency]; !ok {
			found.add("rule %s has frequency %q, which has no tolerance", r.Code, r.Frequency)
		}
		if _, ok := p.Sources[r.Source]; r.Source != "" && !ok {
			found.add("rule %s names source %q, which is not listed", r.Code, r.Source)
		}
		if err := r.Validate(); err != nil {
			found.list = append(found.list, err)
		}
	}
	return errors.Join(found.list...)
}

// Validate reports every mistake of the rule together.
func (r Rule) Validate() error {
	found := problems{name: "rule " + r.Code}
	if !codePattern.MatchString(r.Code) || len(r.Code) > 50 {
		found.add("rule_code is not upper-case parts joined by dashes")
	}
	if !semverPattern.MatchString(r.Version) {
		found.add("version %q is not a semantic version", r.Version)
	}
	for name, text := range map[string]string{"title": r.Title, "description": r.Description, "section": r.Section, "pointer": r.Pointer, "equipment": r.Equipment, "basis": r.Basis, "sla_policy": r.SLAPolicy} {
		if text == "" {
			found.add("%s is empty", name)
		}
	}
	if section, err := strconv.Atoi(r.Section); r.Pack == standardAS1851 && (err != nil || section < 1 || section > standardParts) {
		found.add("section %q is none of 1 to %d", r.Section, standardParts)
	}
	if r.Status != "active" && r.Status != "draft" {
		found.add("status %q is neither active nor draft", r.Status)
	}
	switch r.Provenance {
	case ProvenancePublic:
		if r.Source == "" {
			found.add("is public but names no source")
		}
	case ProvenanceIllustrative, ProvenanceCustomer:
	default:
		found.add("provenance %q is none of public, illustrative, customer", r.Provenance)
	}
	if !frequencyPattern.MatchString(r.Frequency) {
		found.add("frequency %q is not a period such as P6M", r.Frequency)
	}
	from, err := time.Parse(time.DateOnly, r.Effective.From)
	if err != nil {
		found.add("effective.from %q is no date", r.Effective.From)
	}
	if r.Effective.To != nil {
		if to, err := time.Parse(time.DateOnly, *r.Effective.To); err != nil || !to.After(from) {
			found.add("effective.to %q is no date after effective.from", *r.Effective.To)
		}
	}
	if r.Evidence.MinPhotos < 0 || r.Evidence.MinPhotos > evidenceMax {
		found.add("evidence.min_photos is none of 0 to %d", evidenceMax)
	}
	r.validateInputs(&found)
	r.validateDecide(&found)
	return errors.Join(found.list...)
}

func (r Rule) validateInputs(found *problems) {
	if len(r.Inputs) == 0 || len(r.Inputs) > inputsMax {
		found.add("has %d inputs, must have 1 to %d", len(r.Inputs), inputsMax)
	}
	seen := map[string]bool{}
	for _, in := range r.Inputs {
		if !namePattern.MatchString(in.Name) || in.Label == "" {
			found.add("input %q needs a lower-case name and a label", in.Name)
		}
		if seen[in.Name] {
			found.add("input %q twice", in.Name)
		}
		seen[in.Name] = true
		if !slices.Contains([]string{"measured", "baseline", "context", "record"}, in.From) {
			found.add("input %q comes from %q", in.Name, in.From)
		}
		if reason := in.shape(); reason != "" {
			found.add("input %q: %s", in.Name, reason)
			continue
		}
		switch {
		case in.Required && in.Default != nil:
			found.add("input %q is required and has a default", in.Name)
		case !in.Required && in.Default == nil:
			found.add("input %q is optional and has no default", in.Name)
		case in.Default != nil:
			if reason := in.accepts(in.Default); reason != "" {
				found.add("input %q: default %s", in.Name, reason)
			}
		}
	}
}

// shape says what is wrong with the parts that belong to the input's type.
func (in Input) shape() string {
	ranged := in.Min != nil && in.Max != nil
	switch in.Type {
	case TypeQuantity:
		if !slices.Contains(Units(), in.Unit) {
			return fmt.Sprintf("unknown unit %q", in.Unit)
		}
		if in.Decimals == nil || *in.Decimals < 0 || *in.Decimals > decimalsMax {
			return "decimals missing"
		}
	case TypeCount:
		if in.Unit != "" || in.Decimals != nil {
			return "a count has neither unit nor decimals"
		}
	case TypeBoolean, TypeChoice:
		if in.Unit != "" || in.Decimals != nil || in.Min != nil || in.Max != nil {
			return "only numbers have unit, decimals and range"
		}
	default:
		return fmt.Sprintf("unknown type %q", in.Type)
	}
	if in.Type == TypeQuantity || in.Type == TypeCount {
		if !ranged {
			return "range missing"
		}
		low, errLow := in.Min.Float64()
		high, errHigh := in.Max.Float64()
		if errLow != nil || errHigh != nil || low >= high {
			return "range is empty"
		}
	}
	if (in.Type == TypeChoice) != (len(in.Options) > 1) {
		return "options belong to a choice, two at least"
	}
	return ""
}

// accepts says why raw is no value of the input, or "".
func (in Input) accepts(raw json.RawMessage) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "is no JSON"
	}
	switch in.Type {
	case TypeBoolean:
		if _, ok := v.(bool); !ok {
			return "is no boolean"
		}
	case TypeChoice:
		if s, ok := v.(string); !ok || !slices.Contains(in.Options, s) {
			return "is none of the options"
		}
	default:
		n, ok := v.(float64)
		low, _ := in.Min.Float64()
		high, _ := in.Max.Float64()
		if !ok || n < low || n > high {
			return "is outside the range"
		}
		if in.Type == TypeCount && n != float64(int64(n)) {
			return "is no whole number"
		}
	}
	return ""
}

func (r Rule) validateDecide(found *problems) {
	if len(r.Decide) < 2 || len(r.Decide) > clausesMax {
		found.add("has %d clauses, must have 2 to %d", len(r.Decide), clausesMax)
	}
	used := map[string]bool{}
	for i, c := range r.Decide {
		last := i == len(r.Decide)-1
		switch {
		case c.Else != last:
			found.add("clause %d: else must be the last clause, and the last clause else", i+1)
		case c.Else && c.When != "":
			found.add("clause %d has both when and else", i+1)
		case !c.Else:
			names, err := checkCondition(c.When, r.Inputs)
			if err != nil {
				found.add("clause %d: %w", i+1, err)
			}
			for _, name := range names {
				used[name] = true
			}
		}
		if !slices.Contains(Outcomes(), c.Outcome) {
			found.add("clause %d: unknown outcome %q", i+1, c.Outcome)
		}
		if c.Reason == "" {
			found.add("clause %d gives no reason", i+1)
		}
	}
	for _, in := range r.Inputs {
		if !used[in.Name] {
			found.add("input %q is not used by any condition", in.Name)
		}
	}
}
