package simulation

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"firemode/crdt"
	"firemode/merge"
)

// controls are worlds in which one promise is broken on purpose, what the world says when it
// notices, and the seed to begin with for a break that takes a rare accident to show.
var controls = map[string]struct {
	broken broken
	says   string
	from   uint64
}{
	"acknowledged before the commit":           {broken{ackBeforeCommit: true}, "I1: ", 0},
	"chains are not compared":                  {broken{noChainCompare: true}, "I1: ", 28},
	"issued again without the origin":          {broken{noOrigin: true}, "every act counts once: ", 6},
	"quarantine is forgotten":                  {broken{forgetQuarantine: true}, "position ", 0},
	"admissions admit nothing":                 {broken{noAdmission: true}, "I3: ", 0},
	"a restored server is not filled again":    {broken{noRefill: true}, "I1: ", 7},
	"requests wait as a whole for one dot":     {broken{wholeBatches: true}, "stuck: ", 300},
	"devices do not look before they refill":   {broken{hasty: true}, "I4: ", 700},
	"devices do not say which epoch they know": {broken{noEpoch: true}, "I4: ", 1200},
	"devices keep what was erased":             {broken{keepErased: true}, "erased: ", 0},
}

// seedsToNotice bounds how long a broken promise may go unnoticed.
const seedsToNotice = 100

// Each break is noticed, by the checker whose it is.
func TestBrokenWorldsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, c := range controls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noticed(t, onModel, c.broken, c.says, c.from, seedsToNotice)
		})
	}
}

// The same with the service for a server.
func TestBrokenWorldsAroundTheServiceAreNoticed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"acknowledged before the commit", "issued again without the origin", "a restored server is not filled again"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := controls[name]
			noticed(t, services(t), c.broken, c.says, c.from, seedsToNotice)
		})
	}
}

// A server that lets an erased act come back under another name is noticed.
func TestForgetfulServersAreNoticed(t *testing.T) {
	t.Parallel()
	noticed(t, func(session string, now *int64) server {
		m := newModel(session, now)
		m.forgetful = true
		return m
	}, broken{}, "erased: ", 0, seedsToNotice)
}

// noticed fails the test unless a world finds what is broken, and for that reason.
func noticed(t *testing.T, srv serverMaker, b broken, says string, from uint64, seeds int) {
	t.Helper()
	for i := range uint64(seeds) {
		err := run(from+i, plan(from+i, actsPerSeed), srv, b, nil, nil)
		if err == nil {
			continue
		}
		t.Logf("seed %d: %v", from+i, err)
		if !strings.HasPrefix(err.Error(), says) {
			t.Errorf("seed %d: got %q, want %q", from+i, err, says)
		}
		return
	}
	t.Errorf("not noticed in %d seeds", seeds)
}

// liar is a server that says something else than it does.
type liar struct {
	*model
	onLog    func([]merge.Row) []merge.Row
	onAnswer func(*answer)
	onDigest func(string) string
	onStart  func(*model)
}

func (l liar) log(after int64) []merge.Row {
	rows := l.model.log(after)
	if l.onLog != nil && len(rows) > 0 {
		rows = l.onLog(slices.Clone(rows))
	}
	return rows
}

func (l liar) sync(req request) answer {
	a := l.model.sync(req)
	if l.onAnswer != nil && a.refused == nil {
		l.onAnswer(&a)
	}
	return a
}

func (l liar) digest() string {
	if l.onDigest != nil {
		return l.onDigest(l.model.digest())
	}
	return l.model.digest()
}

func (l liar) restart() {
	if l.onStart != nil {
		l.onStart(l.model)
	}
	l.model.restart()
}

var liars = map[string]struct {
	liar liar
	says string
}{
	"a row is missing":      {liar{onLog: func(rows []merge.Row) []merge.Row { return rows[1:] }}, "I"},
	"a row stands twice":    {liar{onLog: func(rows []merge.Row) []merge.Row { return append(rows, rows[0]) }}, "I5: "},
	"positions have a hole": {liar{onLog: func(rows []merge.Row) []merge.Row { rows[0].N++; return rows }}, "I5: "},
	"a line is changed": {liar{onLog: func(rows []merge.Row) []merge.Row {
		rows[0].Line = bytes.Replace(bytes.Clone(rows[0].Line), []byte(`"t":"0`), []byte(`"t":"1`), 1)
		return rows
	}}, "I1: "},
	"a row is out of quarantine": {liar{onLog: func(rows []merge.Row) []merge.Row {
		for i := range rows {
			rows[i].Quarantined = false
		}
		return rows
	}}, "position "},
	"every row is late":             {liar{onLog: func(rows []merge.Row) []merge.Row { rows[0].Late = true; return rows }}, "position "},
	"the chain is another":          {liar{onAnswer: func(a *answer) { a.ack.Chain[0]++ }}, "I6: "},
	"more is counted than is there": {liar{onAnswer: func(a *answer) { a.ack.Added++ }}, "I5: "},
	"the document is another":       {liar{onDigest: func(string) string { return strings.Repeat("0", 64) }}, "I3: "},
	"a restart forgets the last row": {liar{onStart: func(m *model) {
		m.disk.rows = m.disk.rows[:max(0, len(m.disk.rows)-1)]
	}}, "I1: "},
	"a row is held back from devices": {liar{onAnswer: func(a *answer) { a.rows = a.rows[:len(a.rows)/2] }}, "stuck: "},
	"devices are not told of quarantine": {liar{onAnswer: func(a *answer) {
		a.rows = slices.Clone(a.rows)
		for i := range a.rows {
			a.rows[i].Quarantined = false
		}
	}}, "I3: "},
}

// A server that lies is found out.
func TestLiarsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, l := range liars {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noticed(t, func(session string, now *int64) server {
				own := l.liar
				own.model = newModel(session, now)
				return own
			}, broken{}, l.says, 0, seedsToNotice)
		})
	}
}

// Two servers that do not answer alike are found out.
func TestDifferentServersAreNoticed(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"a row is missing": "the servers' logs differ", "the document is another": "the servers' digests differ", "the chain is another": "the servers' answers differ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noticed(t, func(session string, now *int64) server {
				own := liars[name].liar
				own.model = newModel(session, now)
				return pair{newModel(session, now), own}
			}, broken{}, says, 0, seedsToNotice)
		})
	}
}

// busy is a world that has seen something, and is at rest.
func busy(t *testing.T) *world {
	t.Helper()
	for seed := uint64(0); ; seed++ {
		w := newWorld(seed, onModel, broken{})
		if err := caught(func() { w.play(plan(seed, actsPerSeed)) }); err != nil {
			t.Fatal(err)
		}
		if doc := rebuilt(w.ledger.rows); w.ledger.n() > 40 && doc.Live() > 0 && len(doc.List(steps)) > 0 {
			return w
		}
	}
}

// Rows that are numbered without a gap still have to be operations that follow each other.
func TestDamagedLogsAreNoticed(t *testing.T) {
	t.Parallel()
	w := busy(t)
	later := slices.IndexFunc(w.ledger.ops, func(op crdt.Op) bool { return len(op.Seen) > 0 })
	named := w.ledger.index[w.ledger.ops[later].Seen[0]]
	second := slices.IndexFunc(w.ledger.ops, func(op crdt.Op) bool { return op.Seq == 2 })
	for name, c := range map[string]struct {
		spoil func(rows []merge.Row) []merge.Row
		says  string
	}{
		"nothing":                   {func(rows []merge.Row) []merge.Row { return rows }, ""},
		"an operation stands twice": {func(rows []merge.Row) []merge.Row { return append(rows, rows[3]) }, "I2: "},
		"an actor's second goes first": {func(rows []merge.Row) []merge.Row {
			return slices.Insert(slices.Delete(rows, second, second+1), 0, w.ledger.rows[second])
		}, "I5: "},
		"what names goes before what is named": {func(rows []merge.Row) []merge.Row {
			rows[later], rows[named] = rows[named], rows[later]
			return rows
		}, "I5: "},
	} {
		t.Run(name, func(t *testing.T) {
			rows := c.spoil(slices.Clone(w.ledger.rows))
			var l ledger
			l.reset(w.session)
			err := caught(func() {
				for i := range rows {
					rows[i].N = int64(i + 1)
					l.add(rows[i])
				}
			})
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.HasPrefix(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// The direct reading of the log finds documents in which a value has disappeared, one is
// there too many, an act counts twice, or a log that holds what nobody recorded.
func TestWrongDocumentsAreNoticed(t *testing.T) {
	t.Parallel()
	w := busy(t)
	for name, c := range map[string]struct {
		spoil func(doc *crdt.Doc)
		says  string
	}{
		"nothing": {func(*crdt.Doc) {}, ""},
		"a value is gone": {func(doc *crdt.Doc) {
			for path := range doc.Paths("items/") {
				if live := doc.Values(path); len(live) > 0 {
					extra(doc, crdt.Op{Kind: crdt.Rem, Path: path, Seen: []crdt.Dot{live[0].Dot}})
					return
				}
			}
		}, "I4: "},
		"a value too many": {func(doc *crdt.Doc) { extra(doc, crdt.Op{Kind: crdt.Put, Path: "items/X/result", Val: "1"}) }, "I4: "},
		"an element is gone": {func(doc *crdt.Doc) {
			extra(doc, crdt.Op{Kind: crdt.Rem, Path: steps, Seen: []crdt.Dot{doc.List(steps)[0].Dot}})
		}, "I4: "},
		"an element too many": {func(doc *crdt.Doc) { extra(doc, crdt.Op{Kind: crdt.Ins, Path: steps, Val: "1"}) }, "I4: "},
		"an act counts more":  {func(doc *crdt.Doc) { extra(doc, crdt.Op{Kind: crdt.Inc, Path: "heads/0", N: 1}) }, "every act counts once: "},
	} {
		t.Run(name, func(t *testing.T) {
			doc := rebuilt(w.ledger.rows)
			c.spoil(doc)
			err := caught(func() { w.right(doc) })
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.HasPrefix(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
	delete(w.oracle.actOf, w.ledger.ops[0].Sum())
	if err := caught(func() { w.right(rebuilt(w.ledger.rows)) }); err == nil {
		t.Error("a log that holds what nobody recorded: got no error")
	}
}

// extra applies an operation that is not in the log.
func extra(doc *crdt.Doc, op crdt.Op) {
	op.Dot = crdt.Dot{Actor: "nobody", Seq: 1}
	if _, err := doc.Apply(&op); err != nil {
		panic(err)
	}
}
