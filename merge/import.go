package merge

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"

	"firemode/audit"
	"firemode/collections"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// importChunk bounds the operations of one transaction of an import: other writers wait
// for it.
const importChunk = 1000

// An ImportReport counts what an import did, or would do.
type ImportReport struct {
	Sessions int   `json:"sessions"`
	Ops      int64 `json:"ops"`   // in the file
	Added    int64 `json:"added"` // of them, not in the log before
	// Revoked counts authors that are revoked in the file and were not here: a server that
	// comes back from a backup must not trust a lost tablet again.
	Revoked int `json:"revoked"`
}

// CheckImport reads a log file, checks it in itself and against what is stored, and says
// what Import would add. It writes nothing. Errors: *LogFileError, ErrNoSession,
// *crdt.ForkError (the log holds another operation under the same number),
// ErrForeignActor (an author's id was issued to somebody else here), ErrLegalHold (the file
// erases a value of a session whose records must stay).
func (s *Service) CheckImport(ctx context.Context, file io.Reader) (ImportReport, error) {
	var report ImportReport
	var session string
	var stored map[crdt.Dot]storedOp
	revoke := map[string]struct{}{}
	err := ReadLogFile(file, LogVisitor{
		Begin: func(h LogHeader) (err error) {
			report.Sessions++
			if err := s.checkAuthors(ctx, h, revoke); err != nil {
				return err
			}
			report.Revoked = len(revoke)
			session = h.SessionID
			stored, err = s.storedOps(ctx, session)
			return err
		},
		Row: func(r LogRow, op *crdt.Op) error {
			report.Ops++
			here, held := stored[op.Dot]
			if held && here.sum != op.Sum() {
				return &crdt.ForkError{Dot: op.Dot}
			}
			if !held {
				report.Added++
				stored[op.Dot] = storedOp{sum: op.Sum(), erased: r.Flags&flagRedacted != 0}
			}
			if !held && redacts(op) && r.Flags&flagQuarantined == 0 && slices.ContainsFunc(op.Seen, func(x crdt.Dot) bool { return !stored[x].erased }) {
				if err := checkHold(queryOf(s.app), session); err != nil {
					return err
				}
			}
			return ctx.Err()
		},
	})
	return report, err
}

// checkAuthors compares the authors of h with those here and notes whom the file revokes.
func (s *Service) checkAuthors(ctx context.Context, h LogHeader, revoke map[string]struct{}) error {
	for _, a := range h.Actors {
		var owner string
		var revoked bool
		err := s.app.ConcurrentDB().NewQuery(`SELECT user, revoked FROM crdt_actors WHERE key = {:key}`).WithContext(ctx).
			Bind(dbx.Params{"key": a.Actor}).Row(&owner, &revoked)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find actor: %w", err)
		}
		if owner != a.User {
			return fmt.Errorf("author %s: %w", a.Actor, ErrForeignActor)
		}
		if a.Revoked && !revoked {
			revoke[a.Actor] = struct{}{}
		}
	}
	return nil
}

type storedOp struct {
	sum    [32]byte
	erased bool
}

// storedOps are the operations of a session's log, some 100 bytes each.
func (s *Service) storedOps(ctx context.Context, session string) (map[crdt.Dot]storedOp, error) {
	at, err := s.position(ctx, session)
	if err != nil {
		return nil, err
	}
	rows, err := s.app.ConcurrentDB().NewQuery(`SELECT a.key, o.seq, o.hash, o.q & 32 <> 0 FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor WHERE o.doc = {:doc}`).
		WithContext(ctx).Bind(dbx.Params{"doc": at.id}).Rows()
	if err != nil {
		return nil, fmt.Errorf("read operations: %w", err)
	}
	defer rows.Close()
	ops := map[crdt.Dot]storedOp{}
	for rows.Next() {
		var dot crdt.Dot
		var sum sql.RawBytes
		var op storedOp
		if err := rows.Scan(&dot.Actor, &dot.Seq, &sum, &op.erased); err != nil {
			return nil, fmt.Errorf("read operations: %w", err)
		}
		copy(op.sum[:], sum)
		ops[dot] = op
	}
	return ops, rows.Err()
}

// Import adds the operations of a log file that the logs here do not hold, with their
// authors, times of arrival and flags, revokes the authors that the file says are, and erases
// what it says was erased. Check the file first: Import trusts that CheckImport has passed on
// the same bytes. It works in transactions of at most 1,000 operations, may
// be stopped and repeated, and runs beside a server, whose next write reads the log again.
// Where a session had no operation here, every operation keeps its position. progress,
// which may be nil, is called after each transaction.
func (s *Service) Import(ctx context.Context, file io.Reader, progress func(ImportReport)) (report ImportReport, err error) {
	var h LogHeader
	var chunk []importRow
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var part ImportReport
		err := s.Do(ctx, func(b *Batch) (err error) {
			part, err = b.importRows(h, chunk)
			return err
		})
		if err != nil {
			return err
		}
		report.Added += part.Added
		report.Revoked += part.Revoked
		chunk = chunk[:0]
		if progress != nil {
			progress(report)
		}
		return nil
	}
	err = ReadLogFile(file, LogVisitor{
		Begin: func(next LogHeader) error {
			h = next
			report.Sessions++
			return nil
		},
		Row: func(r LogRow, op *crdt.Op) error {
			report.Ops++
			chunk = append(chunk, importRow{LogRow: r, op: *op})
			if len(chunk) < importChunk {
				return nil
			}
			return flush()
		},
		End: func() error {
			if err := flush(); err != nil {
				return err
			}
			return s.Do(ctx, func(b *Batch) error { return b.eraseRepeats(h.SessionID) })
		},
	})
	return report, err
}

type importRow struct {
	LogRow
	op crdt.Op
}

// importRows stores the rows that the document does not hold.
func (b *Batch) importRows(h LogHeader, rows []importRow) (done ImportReport, err error) {
	d, _, err := b.open(h.SessionID)
	if err != nil {
		return done, err
	}
	actors, revoked, err := b.importActors(h)
	if err != nil {
		return done, err
	}
	done.Revoked = len(revoked)
	var e *entry
	store := func() error {
		if e == nil {
			return nil
		}
		done.Added += int64(len(e.ops))
		if err := b.r.s.room(d, e.actor.key, true, len(e.ops)); err != nil {
			return err
		}
		err := b.r.store(b, d, e)
		e = nil
		return err
	}
	erased, err := b.r.erasedActs(d)
	if err != nil {
		return done, err
	}
	for i := range rows {
		r := &rows[i]
		if d.state.Has(r.op.Dot) {
			if err := d.state.Compare(&r.op); err != nil {
				return done, err
			}
			continue
		}
		if b.r.comesBack(erased, actors[r.op.Actor].user, &r.op, r.Flags) {
			r.Line, r.op = r.op.Redact()
			r.Flags |= flagRedacted
		}
		if e != nil && (e.actor.key != r.op.Actor || e.flags != r.Flags || e.recv != r.Received) {
			if err := store(); err != nil {
				return done, err
			}
		}
		if e == nil {
			e = &entry{actor: actors[r.op.Actor], flags: r.Flags, recv: r.Received, chain: d.head(r.op.Actor).chain}
		}
		e.ops, e.lines, e.chain = append(e.ops, r.op), append(e.lines, r.Line), crdt.ChainSum(e.chain, r.op.Sum())
	}
	if err := store(); err != nil || done == (ImportReport{}) {
		return done, err
	}
	values := map[string]any{"count": done.Added, "n": d.n, "digest": h.Digest}
	if len(revoked) > 0 {
		values["revoked"] = revoked
	}
	_, err = audit.Append(b.r.tx, audit.Entry{Action: "import", ResourceType: collections.TestSessions, ResourceID: d.session, New: values})
	return done, err
}

// importActors returns the rows of all authors, and the names of those it has revoked.
func (b *Batch) importActors(h LogHeader) (actors map[string]actorRow, revoked []string, err error) {
	actors = make(map[string]actorRow, len(h.Actors))
	for _, a := range h.Actors {
		row, err := b.importActor(a)
		if err != nil {
			return nil, nil, err
		}
		if a.Revoked && !row.revoked {
			if _, err := RevokeActor(b.r.tx, a.Actor); err != nil {
				return nil, nil, err
			}
			row.revoked = true
			revoked = append(revoked, a.Actor)
		}
		actors[a.Actor] = row
	}
	return actors, revoked, nil
}

// importActor returns the row of an author, which it makes when it is not there.
func (b *Batch) importActor(a LogActor) (actorRow, error) {
	row := actorRow{key: a.Actor}
	read := func() error {
		return b.r.stmt(`SELECT id, user, device, revoked FROM crdt_actors WHERE key = {:key}`, dbx.Params{"key": a.Actor}).
			Row(&row.id, &row.user, &row.device, &row.revoked)
	}
	err := read()
	if errors.Is(err, sql.ErrNoRows) {
		err = b.r.exec(`INSERT INTO crdt_actors (key, user, device, revoked) VALUES ({:key}, {:user}, {:device}, {:revoked})`,
			dbx.Params{"key": a.Actor, "user": a.User, "device": a.Device, "revoked": a.Revoked})
		if err == nil {
			err = read()
		}
	}
	switch {
	case err != nil:
		return row, fmt.Errorf("import actor: %w", err)
	case row.user != a.User:
		return row, fmt.Errorf("author %s: %w", a.Actor, ErrForeignActor)
	}
	return row, nil
}
