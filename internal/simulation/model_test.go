package simulation

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"firemode/crdt"
	"firemode/merge"
)

// model is a server over package crdt alone: its disk is a struct and a commit an assignment.
// It is written from the description of the protocol, so that comparing it with the service
// says something.
type model struct {
	session string
	now     *int64
	disk    disk
	tape    disk // the last backup
	epoch   int

	doc     *crdt.Doc // a cache of disk
	chains  map[string][][32]byte
	starts  int
	clock   *crdt.Clock
	officer string // actor

	forgetful bool // lets an erased act come back under another name
}

type disk struct {
	actors map[string]modelActor
	rows   []merge.Row
	locked bool
}

type modelActor struct {
	user    string
	revoked bool
}

func (d disk) copy() disk {
	return disk{actors: maps.Clone(d.actors), rows: slices.Clone(d.rows), locked: d.locked}
}

func newModel(session string, now *int64) *model {
	m := &model{session: session, now: now, disk: disk{actors: map[string]modelActor{}}}
	m.tape = m.disk.copy()
	m.restart()
	return m
}

func (m *model) issue(user, actor string) {
	m.disk.actors[actor] = modelActor{user: user}
	if user == officer {
		m.officer = actor
	}
}

func (m *model) revoke(actor string) {
	a, known := m.disk.actors[actor]
	if known {
		a.revoked = true
		m.disk.actors[actor] = a
	}
}

func (m *model) lock(locked bool) { m.disk.locked = locked }

func (m *model) backup() { m.tape = m.disk.copy() }

func (m *model) restore() {
	m.disk = m.tape.copy()
	m.epoch++
	m.restart()
}

// restart reads the log again, every other time from a snapshot and what follows it.
func (m *model) restart() {
	rows := m.disk.rows
	m.doc, m.chains = crdt.New(), map[string][][32]byte{}
	m.clock = &crdt.Clock{Now: func() time.Time { return time.UnixMilli(*m.now) }}
	if m.starts++; m.starts%2 == 0 && len(rows) > 1 {
		half := rebuilt(rows[:len(rows)/2])
		doc, err := crdt.LoadSnapshot(half.AppendSnapshot(nil))
		if err != nil {
			fail("I3: load snapshot: %v", err)
		}
		m.doc = doc
		rows = rows[len(rows)/2:]
	}
	extend(m.doc, rows)
	for _, r := range m.disk.rows {
		op := parseRow(r)
		m.link(&op)
	}
}

// chain returns the links of an actor, the first of which precedes its operations.
func (m *model) chain(actor string) [][32]byte {
	if c := m.chains[actor]; c != nil {
		return c
	}
	return [][32]byte{crdt.ChainStart(m.session, actor)}
}

func (m *model) link(op *crdt.Op) {
	c := m.chain(op.Actor)
	m.chains[op.Actor] = append(c, crdt.ChainSum(c[len(c)-1], op.Sum()))
}

func (m *model) position() int64 { return int64(len(m.disk.rows)) }

func (m *model) sync(req request) answer {
	a := answer{epoch: m.epoch, n: m.position()}
	if req.lapsed && len(req.lines) == 0 {
		return answer{epoch: -1, refused: &refusal{code: "denied"}}
	}
	if req.epoch >= 0 && req.epoch != m.epoch || req.since > m.position() {
		a.refused = &refusal{code: "restored"}
		return a
	}
	if len(req.lines) > 0 {
		rows, ack, refused := m.prepare(req)
		if refused != nil {
			a.refused = refused
			return a
		}
		m.commit(rows)
		ack.Acked, ack.N = m.doc.Held(req.actor), m.position()
		ack.Chain = m.chain(req.actor)[ack.Acked]
		ack.More = m.position()-req.since > int64(len(rows))
		a.ack, a.n = ack, m.position()
	}
	if !req.lapsed {
		a.rows = page(m.disk.rows, req.since, req.limit)
	}
	return a
}

func (m *model) commit(rows []merge.Row) {
	for _, r := range rows {
		op := parseRow(r)
		if err := apply(m.doc, &op, r.Quarantined); err != nil {
			fail("the model took what it cannot apply: %v", err)
		}
		m.link(&op)
		m.disk.rows = append(m.disk.rows, r)
		_ = m.clock.Observe(op.Time)
		if redacts(&op) && !r.Quarantined {
			for i, row := range m.disk.rows {
				if row.Redacted == "" && slices.Contains(op.Seen, parseRow(row).Dot) {
					m.disk.rows[i], _ = stub(row)
				}
			}
		}
	}
}

// prepare checks a request and returns the rows to store for it.
func (m *model) prepare(req request) (rows []merge.Row, ack merge.Ack, refused *refusal) {
	actor, known := m.disk.actors[req.actor]
	if !known || actor.user != req.user {
		return nil, ack, &refusal{code: "foreign"}
	}
	ack.Late = m.disk.locked
	links, first := m.chain(req.actor), mustParse(req.lines[0])
	held := uint64(len(links) - 1)
	if first.Seq > held+1 {
		return nil, ack, &refusal{code: "gap", want: held + 1}
	}
	link := links[first.Seq-1]
	if link != req.prev {
		if first.Seq == 1 {
			return nil, ack, &refusal{code: "chain"}
		}
		return nil, ack, &refusal{code: "fork", dot: crdt.Dot{Actor: req.actor, Seq: first.Seq - 1}}
	}
	for _, line := range req.lines {
		op := mustParse(line)
		link = crdt.ChainSum(link, op.Sum())
		if op.Seq <= held {
			if links[op.Seq] != link {
				return nil, ack, &refusal{code: "fork", dot: op.Dot}
			}
			ack.Duplicates++
			continue
		}
		for _, dot := range append(slices.Clone(op.Seen), op.Ref) {
			inRequest := dot.Actor == op.Actor && dot.Seq < op.Seq
			if dot.Seq != 0 && !inRequest && !m.doc.Has(dot) {
				return nil, ack, &refusal{code: "missing", dot: dot}
			}
		}
		r := merge.Row{
			N: m.position() + int64(len(rows)) + 1, Received: *m.now, Late: m.disk.locked,
			Quarantined: actor.revoked || req.lapsed || admits(&op) && !req.supervisor,
			Line:        bytes.Clone(line),
		}
		if m.comesBack(r, &op) {
			r, _ = stub(r)
		}
		ack.Quarantined = ack.Quarantined || r.Quarantined
		rows = append(rows, r)
	}
	if link != req.head {
		return nil, ack, &refusal{code: "chain"}
	}
	ack.Quarantined = ack.Quarantined || actor.revoked || req.lapsed
	ack.Added = len(rows)
	return rows, ack, nil
}

// crash works on a copy of the disk, which is lost.
func (m *model) crash(req request) answer {
	disk := m.disk.copy()
	a := m.sync(req)
	a.rows = nil // nobody can read them
	m.disk = disk
	m.restart()
	return a
}

func (m *model) log(after int64) []merge.Row { return page(m.disk.rows, after, len(m.disk.rows)) }

func (m *model) digest() string {
	sum := m.doc.Digest()
	return hex.EncodeToString(sum[:])
}

func (m *model) sound() error { return nil }
