package simulation

import (
	"math/rand/v2"
	"slices"
)

// act is one thing that happens. It draws from a source of its own, so that a trace still
// means something when other acts are taken out of it.
type act struct {
	kind kind
	seed uint64
}

type kind struct {
	name   string
	weight int
	do     func(w *world, r *rand.Rand)
}

// onDevice is a kind of act on some device.
func onDevice(do func(w *world, d *device, r *rand.Rand)) func(*world, *rand.Rand) {
	return func(w *world, r *rand.Rand) {
		d := w.devices[r.IntN(len(w.devices))]
		w.note("  %s", d.name)
		do(w, d, r)
	}
}

// onMessage is a kind of act on some message that can get through.
func onMessage(do func(w *world, i int)) func(*world, *rand.Rand) {
	return func(w *world, r *rand.Rand) {
		if i := w.pick(r); i >= 0 {
			do(w, i)
		}
	}
}

var kinds = []kind{
	{"write", 110, onDevice((*world).write)},
	{"send", 130, onDevice((*world).send)},
	{"deliver", 260, onMessage((*world).deliver)},
	{"lose a message", 15, onMessage(func(w *world, i int) { w.wire = slices.Delete(w.wire, i, i+1) })},
	{"double a message", 20, onMessage(func(w *world, i int) { w.wire = append(w.wire, w.wire[i]) })},
	{"part or join", 20, onDevice(func(_ *world, d *device, _ *rand.Rand) { d.online = !d.online })},
	{"clock lies", 10, onDevice(func(_ *world, d *device, r *rand.Rand) {
		d.skew = []int64{0, 60_000, -60_000, 400 * 86_400_000, -400 * 86_400_000}[r.IntN(5)]
	})},
	{"back up a tablet", 14, onDevice(func(w *world, d *device, _ *rand.Rand) { w.tapes[d.name] = d.copy() })},
	{"restore a tablet", 14, onDevice(func(w *world, d *device, _ *rand.Rand) { w.restoreDevice(d) })},
	{"copy a tablet", 3, onDevice(func(w *world, d *device, _ *rand.Rand) { w.cloneDevice(d) })},
	{"restart a tablet", 8, onDevice(func(w *world, d *device, _ *rand.Rand) { w.wake(d) })},
	{"crash before the commit", 14, onMessage((*world).crash)},
	{"crash after the commit", 8, onMessage(func(w *world, i int) {
		if m := w.wire[i]; m.ans == nil {
			w.arrive(m.req, true)
			w.wire = slices.Delete(w.wire, i, i+1)
			w.server.restart()
			w.unchanged()
		}
	})},
	{"back up the server", 10, func(w *world, _ *rand.Rand) { w.backupServer() }},
	{"restore the server", 5, func(w *world, _ *rand.Rand) { w.restoreServer() }},
	{"a right ends or returns", 24, onDevice(func(w *world, d *device, r *rand.Rand) {
		w.lapsed[d.user] = !w.lapsed[d.user] && r.IntN(4) == 0
	})},
	{"revoke an actor", 3, onDevice(func(w *world, d *device, _ *rand.Rand) {
		if w.known[d.actor] {
			w.revoked[d.actor] = true
			w.server.revoke(d.actor)
		}
	})},
	{"admit", 36, func(w *world, r *rand.Rand) {
		d := w.devices[0] // a supervisor's
		if r.IntN(6) == 0 {
			d = w.devices[r.IntN(len(w.devices))]
		}
		w.admit(d, r)
	}},
	{"lock or reopen", 6, func(w *world, _ *rand.Rand) {
		w.locked = !w.locked
		w.server.lock(w.locked)
	}},
}

// crash is the server going down while it handles a message.
func (w *world) crash(i int) {
	m := w.wire[i]
	if m.ans != nil {
		return
	}
	w.counts["transactions lost"]++
	a := w.arrive(m.req, false)
	w.wire = slices.Delete(w.wire, i, i+1)
	if w.broken.ackBeforeCommit {
		m.ans = &a
		w.wire = append(w.wire, m)
	}
}

// plan draws n acts.
func plan(seed uint64, n int) []act {
	r := rand.New(rand.NewPCG(seed, 1<<32))
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	acts := make([]act, n)
	for i := range acts {
		p := r.IntN(total)
		for _, k := range kinds {
			if p -= k.weight; p < 0 {
				acts[i] = act{k, r.Uint64()}
				break
			}
		}
	}
	return withRedactions(r, acts)
}

// withRedactions puts some between the others.
func withRedactions(r *rand.Rand, acts []act) (all []act) {
	for _, a := range acts {
		all = append(all, a)
		if r.IntN(16) == 0 {
			all = append(all, act{kind{"redact", 0, (*world).redact}, r.Uint64()})
		}
	}
	return all
}

// healRoundsMax is far more than any device needs to say all it has.
const healRoundsMax = 300

// heal ends all trouble and lets every device talk until nothing changes any more.
func (w *world) heal() {
	w.note("the network heals")
	for _, d := range w.devices {
		d.online = true
	}
	for len(w.wire) > 0 {
		w.deliver(0)
	}
	tried := false
	for range healRoundsMax {
		if w.round() {
			tried = false
			continue
		}
		stuck := w.blocked()
		switch {
		case len(stuck) == 0:
			w.converged()
			return
		case !tried:
			// Perhaps what was missing has come meanwhile.
			tried = true
			for _, s := range stuck {
				s.history().blocked, s.history().stop = false, 0
			}
		default:
			w.release(stuck)
			tried = false
		}
	}
	fail("stuck: devices still talk after %d rounds", healRoundsMax)
}

// round lets each device send and receive once, and reports whether anything changed.
func (w *world) round() (changed bool) {
	for _, d := range slices.Clone(w.devices) {
		for _, actor := range append(d.waiting(), "") {
			h := d.own[actor]
			if actor != "" && (h.blocked || h.acked == h.len()) {
				continue
			}
			before, denied, epoch, cursor, n := d.actor, d.denied, d.epoch, d.cursor(), w.ledger.n()
			var acked uint64
			if h != nil {
				acked = h.acked
			}
			w.now++
			w.post(d, w.ask(d, actor, 1000, 1000))
			for len(w.wire) > 0 {
				w.deliver(0)
			}
			changed = changed || before != d.actor || denied != d.denied || epoch != d.epoch || cursor != d.cursor() || n != w.ledger.n() || h != nil && (h.acked != acked || h.stop > h.acked)
		}
	}
	return changed
}

// stuckActor is operations that cannot be sent because the server lacks what they name.
type stuckActor struct {
	d     *device
	actor string
}

func (s stuckActor) history() *history { return s.d.own[s.actor] }

func (w *world) blocked() (list []stuckActor) {
	for _, d := range w.devices {
		for _, actor := range d.waiting() {
			list = append(list, stuckActor{d, actor})
		}
	}
	return list
}

// release issues again what names an operation that nobody has any more: it went down with
// a restored server and its author's tablet. If all that is waited for is on some author's
// tablet, then the protocol is stuck, and that is a violation.
func (w *world) release(stuck []stuckActor) {
	for _, s := range stuck {
		h := s.history()
		op := &h.ops[h.acked]
		for _, dot := range append(slices.Clone(op.Seen), op.Ref) {
			if _, held := w.ledger.index[dot]; dot.Seq != 0 && !held && !w.someoneHas(dot) {
				w.renew(s.d, s.actor, &refusal{code: "stuck", dot: dot})
				return
			}
		}
	}
	s := stuck[0]
	fail("stuck: %s cannot send %s", s.d.name, s.history().ops[s.history().acked].Dot)
}

// converged checks everything that has to hold when all devices have said all they have.
func (w *world) converged() {
	w.server.restart()
	w.unchanged()
	for _, d := range w.devices {
		if w.lapsed[d.user] {
			continue // it may not read
		}
		if d.cursor() != w.ledger.n() {
			fail("stuck: %s stands at %d of %d", d.name, d.cursor(), w.ledger.n())
		}
		w.settled(d.view, d.name)
		w.forgotten(d)
	}
	doc := rebuilt(w.ledger.rows)
	for _, cut := range []int{len(w.ledger.rows) / 3, len(w.ledger.rows) * 2 / 3} {
		w.snapshotAt(cut)
	}
	w.kept()
	w.right(doc)
	if err := w.server.sound(); err != nil {
		fail("the server finds itself unsound: %v", err)
	}
}

func (a act) do(w *world) { a.kind.do(w, rand.New(rand.NewPCG(a.seed, 2))) }
