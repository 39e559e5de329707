package merge

import (
	"context"
	"maps"

	"firemode/audit"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// A round is one transaction of the writer and the documents it has touched.
type round struct {
	s      *Service
	tx     core.App
	stmts  map[string]*dbx.Query
	docs   map[string]*document // by session; locked for writing until the round settles
	status map[string]string    // of sessions that were looked up; the row is large, so once
	fresh  map[string][]Row     // rows added by jobs that stand, by session
	toShow map[string]struct{}  // sessions whose record is written at the end
	moved  map[string]struct{}  // sessions whose status was changed by jobs that stand
	wrote  map[string]*touched  // fields written to by jobs that stand, by session
	ops    int
}

func (s *Service) newRound(tx core.App) *round {
	return &round{s: s, tx: tx, stmts: map[string]*dbx.Query{}, docs: map[string]*document{}, status: map[string]string{}, fresh: map[string][]Row{}, toShow: map[string]struct{}{}, moved: map[string]struct{}{}, wrote: map[string]*touched{}}
}

// stmt returns the statement prepared for this transaction, which closes it too.
func (r *round) stmt(sql string, params dbx.Params) *dbx.Query {
	q := r.stmts[sql]
	if q == nil {
		q = r.tx.NonconcurrentDB().NewQuery(sql).Prepare()
		r.stmts[sql] = q
	}
	return q.Bind(params)
}

func (r *round) exec(sql string, params dbx.Params) error {
	_, err := r.stmt(sql, params).Execute()
	return err
}

// run runs one job in its savepoint and notes the job's error in it. The error returned is
// of the transaction itself, which then holds nothing any more.
func (r *round) run(j *job) error {
	if err := r.exec("SAVEPOINT merge_job", nil); err != nil {
		return err
	}
	b := &Batch{r: r}
	if j.err = r.call(b, j); j.err != nil {
		r.forget(b)
		if err := r.exec("ROLLBACK TO merge_job", nil); err != nil {
			return err
		}
	}
	if err := r.exec("RELEASE merge_job", nil); err != nil {
		return err
	}
	if j.err == nil {
		for id, rows := range b.fresh {
			r.fresh[id] = append(r.fresh[id], rows...)
			r.ops += len(rows)
		}
		maps.Copy(r.moved, b.moved)
		for id, t := range b.touched {
			if r.wrote[id] == nil {
				r.wrote[id] = t
			} else {
				r.wrote[id].merge(t)
			}
		}
	}
	return nil
}

func (r *round) call(b *Batch, j *job) (err error) {
	// Whoever the job names as the actor, the next job starts with nobody.
	defer audit.Attribute(r.tx, audit.ActorOf(r.tx))()
	defer func() { b.over = true }()
	defer recoverTo(&err, r.s.app)
	return j.run(b)
}

// forget drops the documents that a failed job has changed in memory.
func (r *round) forget(b *Batch) {
	for id := range b.moved {
		delete(r.status, id)
	}
	for id := range b.changed {
		if d := r.docs[id]; d != nil {
			r.s.cache.drop(d)
			d.release(true)
			delete(r.docs, id)
		}
	}
}

// document returns the session's document, up to date and locked for this round.
func (r *round) document(session string) (*document, error) {
	if d := r.docs[session]; d != nil {
		return d, nil
	}
	at, err := readPosition(context.Background(), r.tx.NonconcurrentDB(), session)
	if err != nil {
		return nil, err
	}
	d := r.s.cache.get(session)
	// A copy that is behind comes from before a write of another process: read it again.
	if d == nil || !d.hold(at.n) {
		if d, err = load(context.Background(), r.tx.NonconcurrentDB(), session, at); err != nil {
			return nil, err
		}
		d.hold(d.n)
	}
	r.docs[session] = d
	return d, nil
}

// settle lets readers at the documents again, as committed or not at all.
func (r *round) settle(committed bool) {
	for id, d := range r.docs {
		if !committed {
			r.s.cache.drop(d)
			d.release(true)
			continue
		}
		r.s.cache.put(d)
		if d.shown == d.n {
			delete(r.s.behind, id)
		} else if d.shown > 0 {
			r.s.behind[id] = struct{}{}
		}
		if r.s.wantsSnapshot(d) {
			r.s.toSnap[id] = struct{}{}
		}
		d.release(false)
	}
	if committed {
		maps.Copy(r.moved, r.toShow)
		r.s.feed.publish(r.fresh, r.moved)
	}
}
