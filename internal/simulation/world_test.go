package simulation

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"firemode/crdt"
	"firemode/merge"
)

// broken says which promise is broken on purpose.
type broken struct {
	ackBeforeCommit  bool // the server answers, then loses the transaction
	noChainCompare   bool // devices take the number in an acknowledgement for the whole truth
	noOrigin         bool // devices issue again without naming the origin
	forgetQuarantine bool // the server lets pass what has to wait for admission
	noRefill         bool // devices do not send again what a restored server lacks
	wholeBatches     bool // devices send nothing at all while something in the request is missing
	hasty            bool // devices send to a server of another epoch before they have looked what names mean there
	noAdmission      bool // devices take an admission for a value like another
	noEpoch          bool // devices do not say which epoch they know
	keepErased       bool // devices keep values that were erased
}

// message is a request or an answer on its way.
type message struct {
	device *device
	boot   int
	epoch  int // that the device knew when it asked
	req    request
	ans    *answer
}

// world is one run.
type world struct {
	session string
	seed    uint64
	broken  broken
	server  server
	now     int64 // milliseconds; the true time, which the server has

	devices []*device
	tapes   map[string]*device // backups of tablets, by name
	wire    []message
	boots   int
	acts    int // of people, numbered from 1

	owner   map[string]string // user by actor
	lapsed  map[string]bool   // users whose right has ended
	revoked map[string]bool   // actors, as the server knows them
	known   map[string]bool   // actors that the server has
	locked  bool
	tape    serverTape

	ledger ledger
	oracle oracle
	trace  *[]string // of what happened, when somebody wants it
	counts map[string]int
}

// serverTape is what the world knows about the server's last backup.
type serverTape struct {
	n              int64
	revoked, known map[string]bool
	locked         bool
}

const supervisor = "user0"

func newWorld(seed uint64, srv func(session string, now *int64) server, b broken) *world {
	w := &world{
		session: sessionID(seed), seed: seed, broken: b, now: 1_764_000_000_000,
		tapes: map[string]*device{}, owner: map[string]string{}, lapsed: map[string]bool{},
		revoked: map[string]bool{}, known: map[string]bool{}, counts: map[string]int{},
	}
	w.tape = serverTape{revoked: map[string]bool{}, known: map[string]bool{}}
	w.server = srv(w.session, &w.now)
	w.ledger.reset(w.session)
	w.oracle.init()
	w.appoint()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 2 + r.IntN(3) {
		d := &device{name: "t" + strconv.Itoa(i), user: "user" + strconv.Itoa(r.IntN(1+i)), online: true, epoch: -1, own: map[string]*history{}}
		if i == 1 {
			d.user = "user1" // two people at least
		}
		d.actor = w.newActor(d.user)
		w.devices = append(w.devices, d)
		w.wake(d)
	}
	if r.IntN(2) == 0 {
		w.backupServer() // else a restored server does not know its devices' names
	}
	return w
}

func sessionID(seed uint64) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", seed%1e12) }

// newActor issues an actor id. It begins with a letter of the seed's choice, so that the
// order of names is not the order of issue.
func (w *world) newActor(user string) string {
	k := len(w.owner)
	r := rand.New(rand.NewPCG(w.seed, uint64(1+k)))
	actor := string(rune('a'+r.IntN(26))) + strconv.FormatUint(w.seed, 36) + "-" + strconv.Itoa(k)
	w.owner[actor], w.known[actor] = user, true
	w.server.issue(user, actor)
	return actor
}

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		*w.trace = append(*w.trace, fmt.Sprintf(format, args...))
	}
}

// arrive is a request reaching the server. commit false means that the server crashes before
// the commit.
func (w *world) arrive(req request, commit bool) answer {
	lapsed := w.lapsed[req.user]
	req.lapsed, req.supervisor = lapsed && !w.broken.forgetQuarantine, req.user == supervisor && !lapsed
	var a answer
	if !commit {
		a = w.server.crash(req)
		w.unchanged()
		return a
	}
	a = w.server.sync(req)
	if a.refused == nil && a.ack.Added > 0 {
		w.stored(req, a, lapsed)
	} else if a.refused == nil && a.n != w.ledger.n() {
		fail("I5: position %d although nothing was added to %d", a.n, w.ledger.n())
	}
	return a
}

// stored holds the rows that a request has added against the request.
func (w *world) stored(req request, a answer, lapsed bool) {
	rows := w.server.log(w.ledger.n())
	if len(rows) != a.ack.Added {
		fail("I5: %d rows for %d operations added", len(rows), a.ack.Added)
	}
	lines := req.lines[len(req.lines)-len(rows):]
	for i, r := range rows {
		sent := merge.Row{N: r.N, Line: lines[i]}
		if r.Redacted != "" { // see erased
			sent, _ = stub(sent)
			w.counts["erased acts that come again"]++
		}
		if !bytes.Equal(r.Line, sent.Line) || r.Redacted != sent.Redacted {
			fail("I1: position %d holds other bytes than were sent", r.N)
		}
		op := w.ledger.add(r)
		w.witnessed(&op, req.blind)
		want := w.revoked[op.Actor] || lapsed || admits(&op) && (req.user != supervisor || lapsed)
		w.tally(r, &op)
		if r.Quarantined != want || r.Late != w.locked {
			fail("position %d, %s: got quarantined %t, late %t, want %t, %t", r.N, op.Dot, r.Quarantined, r.Late, want, w.locked)
		}
	}
	w.erased()
	if chain := w.ledger.chains[req.actor]; chain != a.ack.Chain {
		fail("I6: the chain of %s is not the one acknowledged", req.actor)
	}
}

// tally counts what a row stands for, so that a test can tell a world in which it happens.
func (w *world) tally(r merge.Row, op *crdt.Op) {
	for what, is := range map[string]bool{
		"rows in quarantine": r.Quarantined, "late rows": r.Late, "operations issued again": op.Origin != "",
		"admissions": admits(op) && !r.Quarantined, "admissions in quarantine": admits(op) && r.Quarantined,
	} {
		if is {
			w.counts[what]++
		}
	}
}

// unchanged checks that the server still has what it had.
func (w *world) unchanged() {
	rows := w.server.log(0)
	if diff := diffRows(w.ledger.rows, rows); diff != "" {
		fail("I1: the log changed: %s", diff)
	}
	w.settled(rebuilt(rows), "the log read again")
}

// settled holds a document at the log's position against the server's.
func (w *world) settled(doc *crdt.Doc, what string) {
	if got, want := digestOf(doc), w.server.digest(); got != want {
		fail("I3: %s at %d: digest %.8s, the server's is %.8s", what, w.ledger.n(), got, want)
	}
}

// send puts a request of d on the wire.
func (w *world) send(d *device, r *rand.Rand) {
	actor := ""
	if list := d.waiting(); len(list) > 0 && r.IntN(5) > 0 {
		actor = list[r.IntN(len(list))]
	}
	w.post(d, w.ask(d, actor, 1+r.IntN(5), 1+r.IntN(12)))
}

func (w *world) post(d *device, req request) {
	w.wire = append(w.wire, message{device: d, boot: d.boot, epoch: d.epoch, req: req})
}

// pick returns a message that can get through, or -1.
func (w *world) pick(r *rand.Rand) int {
	if len(w.wire) == 0 {
		return -1
	}
	if i := r.IntN(len(w.wire)); w.wire[i].device.online {
		return i
	}
	return -1
}

// deliver brings message i to where it goes.
func (w *world) deliver(i int) {
	m := w.wire[i]
	w.wire = slices.Delete(w.wire, i, i+1)
	if m.ans == nil {
		a := w.arrive(m.req, true)
		m.ans = &a
		w.note("  %s: %d operations of %s since %d: %s", m.device.name, len(m.req.lines), m.req.actor, m.req.since, a)
		w.wire = append(w.wire, m)
		return
	}
	w.receive(m)
}

// receive is an answer reaching a device, which knows whether it asked for it in this life
// and what it believed then.
func (w *world) receive(m message) {
	d := m.device
	if m.boot != d.boot || m.epoch != d.epoch {
		return
	}
	w.note("  %s hears: %s", d.name, *m.ans)
	w.hear(d, m.req, *m.ans)
	if d.epoch >= 0 && d.epoch == w.ledger.epoch && d.cursor() == w.ledger.n() && len(d.waiting()) == 0 {
		w.settled(d.view, d.name)
	}
}

func (a answer) String() string {
	if a.refused != nil {
		return fmt.Sprintf("%s (want %d, dot %s), epoch %d", a.refused.code, a.refused.want, a.refused.dot, a.epoch)
	}
	return fmt.Sprintf("acknowledged %d, added %d, n %d, %d rows, epoch %d", a.ack.Acked, a.ack.Added, a.n, len(a.rows), a.epoch)
}

// restoreServer puts the server's backup back.
func (w *world) restoreServer() {
	w.server.restore()
	before := w.ledger.rows
	w.revoked, w.known, w.locked = maps.Clone(w.tape.revoked), maps.Clone(w.tape.known), w.tape.locked
	rows := w.server.log(0)
	if int64(len(rows)) != w.tape.n {
		fail("I1: the backup of %d rows came back with %d", w.tape.n, len(rows))
	}
	epoch := w.ledger.epoch + 1
	w.ledger.reset(w.session)
	w.ledger.epoch = epoch
	for _, r := range rows {
		w.ledger.add(r)
	}
	w.appoint()
	w.unchanged()
	if len(before) > len(rows) {
		w.oracle.restored = true
		w.counts["servers restored that lacked something"]++
	}
	w.survey()
}

func (w *world) backupServer() {
	w.server.backup()
	w.tape = serverTape{n: w.ledger.n(), revoked: maps.Clone(w.revoked), known: maps.Clone(w.known), locked: w.locked}
}

// restoreDevice brings a tablet back from its backup: what it did since then it has forgotten.
func (w *world) restoreDevice(d *device) {
	tape := w.tapes[d.name]
	if tape == nil {
		return
	}
	w.counts["tablets restored"]++
	online := d.online
	*d = *tape.copy()
	d.online = online
	w.wake(d)
	w.survey()
}

const devicesMax = 5

// cloneDevice copies a tablet's storage to a further one, which works on under the same
// actor id.
func (w *world) cloneDevice(d *device) {
	if len(w.devices) == devicesMax {
		return
	}
	c := d.copy()
	c.name = "t" + strconv.Itoa(len(w.devices))
	w.devices = append(w.devices, c)
	w.wake(c)
}
