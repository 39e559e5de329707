package seed

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"firemode/collections"
	"firemode/crdt"
)

const (
	visitsPerBuilding = 4 // one a quarter; the second of them is the annual one
	annualVisit       = 1
	quarterDays       = 91
	reviewAfterDays   = 21 // an older session is in review
	lockAfterDays     = 45 // a still older one is signed and locked
	// Of a hundred checks, how many find a fault, and how many are recorded as
	// passed by one device and as failed by the other.
	faultPercent     = 4
	contestedPercent = 7
	// Sessions that are not locked show what waiting for a decision looks like.
	openContestedPercent = 25
)

// visit is one test session and everything found at it.
type visit struct {
	place    place
	id       string // of the session
	name     string
	status   string
	start    time.Time
	team     [2]string // one device each
	findings []finding
	batches  []Batch
}

// finding is one check at one visit.
type finding struct {
	check     check
	reading   reading
	contested *reading // what the other device recorded at the same time
	resolved  bool     // the first inspector looked at both and decided
	picture   picture
}

// A Batch is what one device sends at once: operation lines of one actor in
// order, with the actor's chain before and after them.
type Batch struct {
	SessionID string
	UserID    string
	Actor     string
	Prev      [32]byte
	Head      [32]byte
	Lines     [][]byte
}

// item is the segment of the finding in the document.
func (f finding) item() string { return f.check.rule }

func (m maker) visits() ([]visit, error) {
	var out []visit
	for i, b := range places {
		for n := range visitsPerBuilding {
			v, err := m.visit(b, i, n)
			if err != nil {
				return nil, fmt.Errorf("visit %d of %s: %w", n+1, b.name, err)
			}
			out = append(out, v)
		}
	}
	return out, nil
}

func (m maker) visit(b place, index, n int) (visit, error) {
	days := 5 + index*11%85 + quarterDays*(visitsPerBuilding-1-n)
	// 23:00 UTC is the start of a working day in the east of Australia.
	start := m.daysAgo(days, time.Duration(index%4-1)*time.Hour)
	name := start.Format("January 2006") + " routine service"
	if n == annualVisit {
		name = "Annual fire safety service " + start.Format("2006")
	}
	key := b.name + "/" + strconv.Itoa(n)
	v := visit{place: b, id: m.id("session", key, start), name: name, status: collections.SessionActive, start: start, team: b.team()}
	switch {
	case days > lockAfterDays:
		v.status = collections.SessionLocked
	case days > reviewAfterDays:
		v.status = collections.SessionInReview
	}
	v.findings = m.findings(b, key, n == annualVisit, v.status, start)
	var err error
	v.batches, err = m.operations(v)
	return v, err
}

func (m maker) findings(b place, key string, annual bool, status string, at time.Time) []finding {
	r := m.rand("findings", key)
	contested := contestedPercent
	if status != collections.SessionLocked {
		contested = openContestedPercent
	}
	var out []finding
	for _, c := range checks {
		if c.yearly && !annual || !c.yearly && r.IntN(10) < 3 {
			continue
		}
		f := finding{check: c, reading: c.good(r)}
		switch chance := r.IntN(100); {
		case chance < faultPercent: // both found the fault
			f.reading = c.bad(r)
			f.picture = m.picture(b, c, f.reading, at)
		case chance < faultPercent+contested: // one passed what the other failed
			bad := c.bad(r)
			f.contested = &bad
			f.picture = m.picture(b, c, bad, at)
			// A locked session was reviewed; the newest ones still wait for a decision.
			f.resolved = status == collections.SessionLocked && r.IntN(3) > 0
		}
		out = append(out, f)
	}
	// No active session is without a conflict: it is what a newcomer opens first.
	isContested := func(f finding) bool { return f.contested != nil }
	if f := &out[0]; status == collections.SessionActive && !slices.ContainsFunc(out, isContested) {
		bad := f.check.bad(r)
		f.reading, f.contested, f.picture = f.check.good(r), &bad, m.picture(b, f.check, bad, at)
	}
	return out
}

// outcome is the reading that stands: the fault, unless it was decided away.
func (f finding) outcome() reading {
	if f.contested != nil {
		return *f.contested
	}
	return f.reading
}

// pen writes the operations of one device.
type pen struct {
	actor string
	seq   uint64
	now   time.Time
	lines [][]byte
	prev  [32]byte  // chain before lines
	head  [32]byte  // and after them
	doc   *crdt.Doc // everything the server will hold
	err   error
}

// newPen is a device that has recorded nothing in the session yet.
func (m maker) newPen(v visit, username string, now time.Time, doc *crdt.Doc) *pen {
	p := &pen{actor: m.actor(username, "tablet"), now: now, doc: doc}
	p.prev = crdt.ChainStart(v.id, p.actor)
	p.head = p.prev
	return p
}

// put records value at path, replacing what seen names.
func (p *pen) put(path, value string, seen ...crdt.Dot) crdt.Dot {
	return p.write(crdt.Op{Kind: crdt.Put, Path: path, Val: value, Seen: seen})
}

func (p *pen) write(op crdt.Op) crdt.Dot {
	if p.err != nil {
		return crdt.Dot{}
	}
	p.seq++
	op.Dot, op.Time = crdt.Dot{Actor: p.actor, Seq: p.seq}, crdt.NewTime(uint64(p.now.UnixMilli()), 0)
	line, read, err := op.Encode()
	if err == nil {
		_, err = p.doc.Apply(&read)
	}
	if err != nil {
		p.err = fmt.Errorf("%s at %s: %w", op.Kind, op.Path, err)
		return crdt.Dot{}
	}
	p.lines, p.head = append(p.lines, line), crdt.ChainSum(p.head, read.Sum())
	p.now = p.now.Add(40 * time.Second)
	return op.Dot
}

// batch takes what was written since the last one.
func (p *pen) batch(v visit, userID string) Batch {
	b := Batch{SessionID: v.id, UserID: userID, Actor: p.actor, Prev: p.prev, Head: p.head, Lines: p.lines}
	p.prev, p.lines = p.head, nil
	return b
}

// text is the canonical JSON of a string.
func text(s string) string {
	b, err := crdt.AppendValue(nil, s)
	if err != nil {
		panic("seed: internal error: " + err.Error()) // the texts of this package are valid
	}
	return string(b)
}

// operations writes what both devices recorded while neither saw the other,
// then what the first one added after both had synced.
func (m maker) operations(v visit) ([]Batch, error) {
	doc := crdt.New()
	first, second := m.newPen(v, v.team[0], v.start, doc), m.newPen(v, v.team[1], v.start.Add(20*time.Second), doc)
	r := m.rand("operations", v.id)

	first.put("title", text(v.name))
	first.put("started_at", text(v.start.Format(time.RFC3339)))
	first.put("assignee", text(v.team[0]))
	second.put("notes/arrival", text("second team started on the upper floors"))
	var undecided [][2]crdt.Dot
	var decided []finding
	for i, f := range v.findings {
		author, other := first, second
		if i%2 == 1 {
			author, other = second, first
		}
		mine := m.record(author, f, f.reading, r)
		if f.contested == nil {
			continue
		}
		theirs := m.record(other, f, *f.contested, r)
		other.put("items/"+f.item()+"/photos", photo(f.picture, other.now))
		if f.resolved {
			undecided, decided = append(undecided, [2]crdt.Dot{mine, theirs}), append(decided, f)
		}
	}
	heads := func(p *pen) { p.write(crdt.Op{Kind: crdt.Inc, Path: "counts/heads_tested", N: int64(4 + r.IntN(20))}) }
	heads(first)
	heads(second)
	batches := []Batch{first.batch(v, m.userID(v.team[0])), second.batch(v, m.userID(v.team[1]))}

	first.now = v.start.Add(5 * time.Hour)
	for i, f := range decided {
		first.put("items/"+f.item()+"/result", text("fail"), undecided[i][0], undecided[i][1])
		first.put("items/"+f.item()+"/notes", text("checked together on site, the fault stands"))
	}
	first.put("finished_at", text(first.now.Format(time.RFC3339)))
	if v.status == collections.SessionLocked {
		digest := doc.Digest()
		first.put("signoffs/inspector", `{"digest":"`+hex.EncodeToString(digest[:])+`","statement":"tested as recorded","upto":`+strconv.Itoa(doc.Ops())+`}`)
	}
	batches = append(batches, first.batch(v, m.userID(v.team[0])))
	for _, p := range []*pen{first, second} {
		if p.err != nil {
			return nil, p.err
		}
	}
	return batches, nil
}

// record writes one finding and returns the dot of its result.
func (m maker) record(p *pen, f finding, r reading, choice *rand.Rand) crdt.Dot {
	at := "items/" + f.item() + "/"
	result := "pass"
	if r.clause != passed {
		result = "fail"
	}
	dot := p.put(at+"result", text(result))
	if r.value != "" {
		p.put(at+"value", r.value)
	}
	if r.clause != passed || choice.IntN(3) == 0 {
		p.put(at+"remark", text(r.text))
	}
	if r.clause != passed && f.contested == nil {
		p.put(at+"photos", photo(f.picture, p.now))
	}
	return dot
}

// photo refers to evidence by its content.
func photo(p picture, taken time.Time) string {
	return `{"bytes":` + strconv.Itoa(len(p.content)) + `,"sha256":"` + p.sha256 + `","taken":"` + taken.UTC().Format(time.RFC3339) + `"}`
}

// sessionRows are all visits, still active and empty.
func (m maker) sessionRows(visits []visit) []row {
	var rows []row
	for _, v := range visits {
		rows = append(rows, row{
			collection: collections.TestSessions, id: v.id, at: v.start,
			values: map[string]any{
				collections.FieldBuildingID: m.buildingID(v.place), collections.FieldSessionName: v.name,
				collections.FieldStatus: collections.SessionActive, collections.FieldCreatedBy: m.userID(v.team[0]),
			},
		})
	}
	return rows
}

// deviceName names the tablet of a user.
func deviceName(username string) string { return "demo-tablet-" + username }
