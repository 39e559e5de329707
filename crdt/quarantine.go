package crdt

import "slices"

// absent is an operation that is held and without effect (R9), and what happened to its
// value meanwhile: someone may name its dot before it is admitted.
type absent struct {
	op        Op
	replaced  bool  // for good
	replacers []Dot // operations issued again that replace it while they count
}

// ApplyQuarantined is Apply for an operation that is well formed but not allowed: it takes
// its dot, so that its actor's later operations can follow, and has no effect until Admit.
// Whether an operation is quarantined is decided and delivered by the server; every replica
// MUST be told the same. An operation already held keeps the standing it has.
func (d *Doc) ApplyQuarantined(o *Op) (bool, error) { return d.join(o, true) }

func (d *Doc) withhold(o *Op) {
	if d.quarantined == nil {
		d.quarantined = map[Dot]*absent{}
	}
	d.quarantined[o.Dot] = &absent{op: *o}
}

// Admit lifts the quarantine of an operation, which takes effect as if it had never been
// quarantined, and reports whether it was. An operation not held is a *MissingError.
func (d *Doc) Admit(dot Dot) (bool, error) {
	q := d.quarantined[dot]
	if q == nil {
		if !d.Has(dot) {
			return false, &MissingError{Dots: []Dot{dot}}
		}
		return false, nil
	}
	d.enact(&q.op, d.actors[dot.Actor].name, q)
	return true, nil
}

// Quarantined returns the operations without effect until admitted, in dot order.
func (d *Doc) Quarantined() []Dot {
	dots := make([]Dot, 0, len(d.quarantined))
	for dot := range d.quarantined {
		dots = append(dots, dot)
	}
	slices.SortFunc(dots, Dot.Compare)
	return dots
}
