package simulation

import (
	"maps"
	"slices"
	"time"

	"firemode/crdt"
	"firemode/merge"
)

// history is one actor's operations as a device holds them, from the first one on.
type history struct {
	lines   [][]byte
	ops     []crdt.Op
	chains  [][32]byte // one more than lines: the first precedes them all
	acked   uint64     // how many of them the log of this epoch is known to hold
	stop    uint64     // the last that can go before something missing; 0 when nothing is
	blocked bool       // the server lacks what the next one names
}

func (h *history) len() uint64 { return uint64(len(h.lines)) }

func (h *history) add(line []byte, op crdt.Op) {
	h.lines, h.ops = append(h.lines, line), append(h.ops, op)
	h.chains = append(h.chains, crdt.ChainSum(h.chains[len(h.chains)-1], op.Sum()))
}

// cut keeps the first n operations.
func (h *history) cut(n uint64) {
	h.lines, h.ops, h.chains = h.lines[:n:n], h.ops[:n:n], h.chains[:n+1:n+1]
	h.blocked, h.stop = false, 0
}

func (h *history) copy() *history {
	c := *h
	c.lines, c.ops, c.chains = slices.Clone(h.lines), slices.Clone(h.ops), slices.Clone(h.chains)
	return &c
}

// device is a tablet. What it has of others is rows, the log up to a position; what its user
// has recorded, on this tablet or another, is kept apart to be sent again.
type device struct {
	name, user string
	boot       int // tells answers to this life of the tablet from those to an earlier one
	online     bool
	skew       int64 // milliseconds that its clock is wrong by

	epoch  int // -1: not known
	rows   []merge.Row
	own    map[string]*history // by actor
	actor  string              // that it writes under
	clock  *crdt.Clock
	view   *crdt.Doc // rows, and what of own is not among them yet
	behind bool      // view lacks some of own: what it names was not received again yet
	denied bool      // the server does not tell it anything

	// Of a device that has met another epoch, nil before:
	met     map[crdt.Dot]bool     // what it has received of the present one
	former  map[crdt.Dot][32]byte // what it knew by name before
	strange map[crdt.Dot]bool     // names that mean something else now
}

func (d *device) cursor() int64 { return int64(len(d.rows)) }

// copy is the tablet's storage, to be kept or to be brought up again.
func (d *device) copy() *device {
	c := *d
	c.rows, c.own = slices.Clone(d.rows), map[string]*history{}
	for actor, h := range d.own {
		c.own[actor] = h.copy()
	}
	c.met, c.former, c.strange = maps.Clone(d.met), maps.Clone(d.former), maps.Clone(d.strange)
	return &c
}

// find returns the operation that d holds under a name.
func (d *device) find(dot crdt.Dot) *crdt.Op {
	if h := d.own[dot.Actor]; h != nil && dot.Seq <= h.len() {
		return &h.ops[dot.Seq-1]
	}
	for _, r := range d.rows {
		if op := parseRow(r); op.Dot == dot {
			return &op
		}
	}
	return nil
}

// history returns what d holds of one of its user's actors.
func (w *world) history(d *device, actor string) *history {
	h := d.own[actor]
	if h == nil {
		h = &history{chains: [][32]byte{crdt.ChainStart(w.session, actor)}}
		d.own[actor] = h
	}
	return h
}

// wake starts the tablet's program on the storage it has.
func (w *world) wake(d *device) {
	w.boots++
	d.boot = w.boots
	d.clock = &crdt.Clock{Now: func() time.Time { return time.UnixMilli(w.now + d.skew) }}
	w.redraw(d)
}

// redraw computes the view anew: an operation the server has put into quarantine cannot be
// taken back.
func (w *world) redraw(d *device) {
	d.view = rebuilt(d.rows)
	d.behind = false
	for progress := true; progress; {
		progress, d.behind = false, false
		for _, actor := range slices.Sorted(maps.Keys(d.own)) {
			for _, op := range d.own[actor].ops[min(d.view.Held(actor), d.own[actor].len()):] {
				if _, err := d.view.Apply(&op); err != nil {
					d.behind = true
					break
				}
				progress = true
			}
		}
	}
}

// waiting returns the actors of which d has something to send.
func (d *device) waiting() (list []string) {
	for _, actor := range slices.Sorted(maps.Keys(d.own)) {
		if h := d.own[actor]; h.acked < h.len() {
			list = append(list, actor)
		}
	}
	return list
}

// ask makes a request with up to most operations of actor, or none for "".
func (w *world) ask(d *device, actor string, most, limit int) request {
	req := request{user: d.user, epoch: d.epoch, since: d.cursor(), limit: limit, actor: actor, blind: d.denied}
	if w.broken.noEpoch {
		req.epoch = -1
	}
	if actor != "" {
		if to := d.sayable(actor, uint64(most)); to > d.own[actor].acked {
			h := d.own[actor]
			req.lines, req.prev, req.head = h.lines[h.acked:to], h.chains[h.acked], h.chains[to]
		}
		return req
	}
	if actor == "" && d.denied {
		// Who may not read learns of another epoch only from an acknowledgement, so it sends
		// again what it sent last and can still say.
		for _, actor := range slices.Sorted(maps.Keys(d.own)) {
			h := d.own[actor]
			if h.acked < h.len() {
				continue
			}
			for i := h.len(); i > 0; i-- {
				if worded(&h.ops[i-1]) {
					req.actor, req.lines, req.prev, req.head = actor, h.lines[i-1:i], h.chains[i-1], h.chains[i]
					return req
				}
			}
		}
		return req
	}
	return req
}

// sayable returns up to which of an actor's operations d may send now, at most most of them.
// To a server that came back from a backup it sends only what names what it has received
// from it: else another self of an author could have used a name again for something that
// d's user has never seen. Who may not read has to take the risk.
func (d *device) sayable(actor string, most uint64) uint64 {
	h := d.own[actor]
	to := min(h.acked+most, h.len())
	if h.stop > h.acked {
		to = min(to, h.stop)
	}
	blind := d.met == nil || d.denied
	known := func(dot crdt.Dot) bool {
		if blind {
			return true
		}
		own := d.own[dot.Actor]
		return dot.Seq == 0 || dot.Actor == actor || d.met[dot] || own != nil && dot.Seq <= own.acked
	}
	for i, op := range h.ops[h.acked:to] {
		if !worded(&op) || !known(op.Ref) || slices.ContainsFunc(op.Seen, func(dot crdt.Dot) bool { return !known(dot) }) {
			return h.acked + uint64(i)
		}
	}
	return to
}

// hear is what d does with an answer.
func (w *world) hear(d *device, req request, a answer) {
	actor := req.actor
	if len(req.lines) == 0 {
		actor = ""
	}
	switch {
	case a.refused != nil && a.refused.code == "denied":
		d.denied = true
		w.unsayable(d, 0)
		return
	case actor == "" || len(a.rows) > 0:
		d.denied = false
	}
	if a.epoch != d.epoch {
		w.meet(d, a.epoch)
	} else if a.refused != nil && a.refused.code == "restored" {
		fail("I1: the log became shorter within epoch %d", a.epoch)
	}
	if r := a.refused; r != nil {
		w.refused(d, req, r)
		return
	}
	if actor != "" {
		w.acknowledged(d, req, a)
	}
	for _, row := range a.rows {
		if row.N == d.cursor()+1 {
			w.take(d, row)
		}
	}
	if d.behind {
		w.redraw(d)
	}
	w.unsayable(d, a.n)
}

func (w *world) refused(d *device, req request, r *refusal) {
	actor := req.actor
	h := w.history(d, actor)
	switch r.code {
	case "gap":
		h.acked = min(h.acked, r.want-1)
	case "fork", "foreign":
		w.renew(d, actor, r)
	case "missing":
		// What comes before the operation that names it can go: two devices that wait for
		// each other's with all they have would wait for ever.
		for _, line := range req.lines {
			if op := mustParse(line); slices.Contains(op.Seen, r.dot) || op.Ref == r.dot {
				h.stop = op.Seq - 1
				break
			}
		}
		if w.broken.wholeBatches {
			h.stop = h.acked
		}
		h.blocked = h.acked >= h.stop
	case "chain":
		fail("I6: an honest device's chain was refused: %s", actor)
	}
}

// acknowledged compares the server's chain with d's own. The lines of the request are in the
// log whatever comes of it: the server has compared them. That says nothing of d's history
// if it has given those lines up since.
func (w *world) acknowledged(d *device, req request, a answer) {
	h := w.history(d, req.actor)
	upTo := func(n uint64) {
		for h.acked < min(n, h.len()) {
			h.acked++
			w.told(d, &h.ops[h.acked-1], a.epoch)
		}
	}
	h.blocked, h.stop = false, 0
	n := a.ack.Acked
	if w.broken.noChainCompare || n <= h.len() && h.chains[n] == a.ack.Chain {
		upTo(n)
		return
	}
	if last := mustParse(req.lines[len(req.lines)-1]).Seq; last <= h.len() && h.chains[last] == req.head {
		upTo(last)
	}
	// Of an actor that it does not write under any more, others may simply know more.
	if n <= h.len() || req.actor == d.actor {
		w.renew(d, req.actor, &refusal{code: "fork"})
	}
}

// take adds the next row of the log.
func (w *world) take(d *device, row merge.Row) {
	op := parseRow(row)
	if sum, known := d.former[op.Dot]; known && sum != op.Sum() && !w.broken.hasty {
		w.estranged(d, op.Dot)
	}
	if d.met != nil {
		d.met[op.Dot] = true
	}
	if w.owner[op.Actor] == d.user {
		h := w.history(d, op.Actor)
		if op.Seq <= h.len() && h.ops[op.Seq-1].Sum() != op.Sum() {
			h.acked = min(h.acked, op.Seq-1)
			w.renew(d, op.Actor, &refusal{code: "fork", dot: op.Dot})
		}
		switch {
		case op.Seq <= h.len():
			if h.acked < op.Seq {
				h.acked = op.Seq
				w.told(d, &op, d.epoch)
			}
		case op.Seq == h.len()+1:
			h.add(row.Line, op)
			h.acked = op.Seq
			if op.Actor == d.actor {
				// Somebody else writes under this actor id: an earlier or another self.
				d.rows = append(d.rows, row)
				w.renew(d, op.Actor, &refusal{code: "fork", dot: op.Dot})
				return
			}
		}
		h.blocked = false
	}
	d.rows = append(d.rows, row)
	if !w.broken.keepErased {
		d.heed(row, &op)
	}
	held := d.view.Has(op.Dot)
	switch {
	case held && row.Quarantined:
		d.behind = true
	case held:
		if _, err := d.view.Apply(&op); err != nil {
			d.behind = true
		} else if err := effects(d.view, &op, false); err != nil {
			fail("I5: position %d: %v", row.N, err)
		}
	case w.broken.noAdmission && !row.Quarantined:
		_, _ = d.view.Apply(&op)
	default:
		if err := apply(d.view, &op, row.Quarantined); err != nil {
			d.behind = true
		}
	}
}
