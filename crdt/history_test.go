package crdt

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// chooser picks a number in [0, n). A seeded generator, rapid or the bytes of a fuzz input
// stand behind it.
type chooser func(n int) int

func seeded(seed uint64) chooser { return rand.New(rand.NewPCG(seed, 1)).IntN }

// event is something a replica is told: an operation, with its standing, an admission or a
// redaction.
type event struct {
	op         *Op
	quarantine bool
	admit      Dot
	redact     Dot
}

// history is what happened in a session, in no particular order.
type history struct {
	events []event
}

// spec returns the meaning of the history.
func (h *history) spec() *spec {
	s := &spec{ops: map[Dot]*Op{}, quarantined: map[Dot]bool{}, redacted: map[Dot]bool{}}
	for _, e := range h.events {
		if e.op != nil {
			s.ops[e.op.Dot] = e.op
			if e.quarantine {
				s.quarantined[e.op.Dot] = true
			}
		}
	}
	for _, e := range h.events {
		if e.op == nil {
			delete(s.quarantined, e.admit)
			s.redacted[e.redact] = true
		}
	}
	return s
}

// replica is what is under test: Doc, or a wrong merge that the checker has to catch.
type replica interface {
	Apply(*Op) (bool, error)
	ApplyQuarantined(*Op) (bool, error)
	Admit(Dot) (bool, error)
	Redact(...Dot) error
	Text() []byte
}

func tell(r replica, e event) error {
	var err error
	switch {
	case e.redact.Seq > 0:
		err = r.Redact(e.redact)
	case e.op == nil:
		_, err = r.Admit(e.admit)
	case e.quarantine:
		_, err = r.ApplyQuarantined(e.op)
	default:
		_, err = r.Apply(e.op)
	}
	return err
}

// deliver tells r all events in the given order, those that are early again and again.
func deliver(r replica, events []event) error {
	waiting := slices.Clone(events)
	for len(waiting) > 0 {
		left := waiting[:0]
		for _, e := range waiting {
			if err := tell(r, e); early(err) {
				left = append(left, e)
			} else if err != nil {
				return err
			}
		}
		if len(left) == len(waiting) {
			return fmt.Errorf("%d events never became ready", len(left))
		}
		waiting = left
	}
	return nil
}

// shuffled returns the events in random order, some of them twice, and some redacted
// operations as one who never held the value gets them.
func shuffled(events []event, choose chooser) []event {
	out := slices.Clone(events)
	redacted := map[Dot]bool{}
	for _, e := range events {
		redacted[e.redact] = true
	}
	for i, e := range events {
		if e.op == nil || !redacted[e.op.Dot] || choose(2) > 0 {
			continue
		}
		_, stub := e.op.Redact()
		if choose(2) == 0 {
			out[i].op = &stub
			continue
		}
		// Or as one who held it is told again, in the place of the redaction.
		at := slices.IndexFunc(out, func(x event) bool { return x.redact == e.op.Dot })
		out[at] = event{op: &stub, quarantine: e.quarantine}
	}
	if len(events) > 0 {
		for range len(events) / 2 {
			out = append(out, out[choose(len(events))])
		}
	}
	for i := range out {
		j := i + choose(len(out)-i)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// player is one tablet while a history is made up.
type player struct {
	actor string
	seq   uint64
	doc   *Doc
	log   []event
}

func (p *player) tell(e event) {
	held := p.doc.Ops()
	waiting := e.op == nil && slices.Contains(p.doc.Quarantined(), e.admit)
	known := e.op != nil || slices.Contains(p.log, e)
	if tell(p.doc, e) == nil && (p.doc.Ops() > held || waiting || !known) {
		p.log = append(p.log, e)
	}
}

// play makes up a session: a few tablets that write, synchronise now and then, have clocks
// that lie, see what they should not, are restored and issue operations again; operations
// that never arrive, or late; and a server that quarantines, admits and redacts.
func play(choose chooser, steps int) *history {
	h := &history{}
	players := make([]*player, 1+choose(4))
	// With one path everything meets; with three, rules about paths are reached.
	paths := []string{"a", "a/b", "l"}[:1+choose(3)]
	for i := range players {
		players[i] = &player{actor: fmt.Sprintf("r%d", i), doc: New()}
	}
	// In some sessions tablets do little else but come back from the dead.
	reissues := []int{3, 3, 9}[choose(3)]
	var lost []*Op // made on a tablet that was restored before it could send them
	restores := 0
	send := func(p *player, e event) {
		p.tell(e)
		h.events = append(h.events, e)
	}
	for range steps {
		p := players[choose(len(players))]
		switch what := choose(17); {
		case what < 2: // synchronise one way
			for _, e := range players[choose(len(players))].log {
				p.tell(e)
			}
		case what < 4: // an operation that is lost, or was believed lost
			if len(lost) > 0 && choose(2) == 0 {
				i := choose(len(lost))
				send(p, event{op: lost[i], quarantine: choose(6) == 0})
				lost = slices.Delete(lost, i, i+1)
				continue
			}
			lost = append(lost, makeOp(choose, p.doc, paths, Dot{Actor: fmt.Sprintf("x%d", restores), Seq: 1}))
			restores++
		case what < 4+reissues: // issue again
			candidates := slices.Clone(lost)
			for _, e := range h.events {
				if e.op != nil {
					candidates = append(candidates, e.op)
				}
			}
			if len(candidates) == 0 {
				continue
			}
			o, ok := candidates[choose(len(candidates))].Reissue(Dot{p.actor, p.seq + 1}, lyingTime(choose), same(p.doc.Has))
			if !ok {
				continue
			}
			if choose(6) == 0 && o.Val != "" { // claims the origin, says something else
				o.Val = "9"
			}
			if o.Kind == Put || o.Kind == Rem { // and replaces what the original did not
				for _, x := range allDots(p.doc) {
					if choose(4) == 0 {
						o.Seen = append(o.Seen, x)
					}
				}
			}
			p.seq++
			send(p, event{op: &o, quarantine: choose(6) == 0})
		case what == 16:
			if held := allDots(p.doc); len(held) > 0 {
				send(p, event{redact: held[choose(len(held))]})
			}
		case what == 13:
			if q := p.doc.Quarantined(); len(q) > 0 {
				send(p, event{admit: q[choose(len(q))]})
			}
		default:
			o := makeOp(choose, p.doc, paths, Dot{p.actor, p.seq + 1})
			p.seq++
			send(p, event{op: o, quarantine: choose(8) == 0})
		}
	}
	return h
}

// same is for Reissue: what is kept keeps its name.
func same(keep func(Dot) bool) func(Dot) (Dot, bool) {
	return func(dot Dot) (Dot, bool) {
		if !keep(dot) {
			return Dot{}, false
		}
		return dot, true
	}
}

// lyingTime is a clock that goes back and forth.
func lyingTime(choose chooser) Time { return NewTime(uint64(choose(5)), uint16(choose(2))) }

func makeOp(choose chooser, d *Doc, paths []string, dot Dot) *Op {
	path := paths[choose(len(paths))]
	o := &Op{Dot: dot, Time: lyingTime(choose), Path: path}
	var targets []Dot
	for _, e := range d.Values(path) {
		targets = append(targets, e.Dot)
	}
	elements := d.List(path)
	for _, e := range elements {
		targets = append(targets, e.Dot)
	}
	for _, x := range targets {
		if choose(4) > 0 {
			o.Seen = append(o.Seen, x)
		}
	}
	// Sometimes a dot the author cannot have had on screen: dead, elsewhere, quarantined.
	if held := allDots(d); len(held) > 0 && choose(4) == 0 {
		o.Seen = append(o.Seen, held[choose(len(held))])
	}
	switch what := choose(10); {
	case what < 4:
		o.Kind, o.Val = Put, fmt.Sprint(choose(3))
	case what < 7 && len(o.Seen) > 0:
		o.Kind = Rem
	case what == 7:
		o.Kind, o.N, o.Seen = Inc, int64(choose(6)-3), nil
		if o.N == 0 {
			o.N = IncMax
		}
	default:
		o.Kind, o.Val, o.Seen = Ins, fmt.Sprint(choose(3)), nil
		if len(elements) > 0 && choose(3) > 0 {
			o.Ref = elements[choose(len(elements))].Dot
		} else if held := allDots(d); len(held) > 0 && choose(4) == 0 {
			o.Ref = held[choose(len(held))]
		}
	}
	return o
}

func allDots(d *Doc) (dots []Dot) {
	version := d.Version()
	for _, name := range slices.Sorted(maps.Keys(version)) {
		for seq := range version[name] {
			dots = append(dots, Dot{name, seq + 1})
		}
	}
	return dots
}
