package merge

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"firemode/collections"

	"github.com/pocketbase/dbx"
)

const (
	// readRowsMax bounds one page of operations.
	readRowsMax = 1000
	// loadsMax bounds the readers that read whole logs at the same time.
	loadsMax = 2
)

func idIs(id string) dbx.Expression { return dbx.HashExp{collections.FieldID: id} }

// A Document is a session's document as it is materialised.
type Document struct {
	SessionID   string          `json:"session_id" db:"id"`
	Status      string          `json:"status" db:"status"`
	Data        json.RawMessage `json:"session_data" db:"session_data"` // the form of crdt.Doc.Materialise
	VectorClock json.RawMessage `json:"vector_clock" db:"vector_clock"`
	ServerSeq   int64           `json:"server_seq" db:"server_seq"`
	UpdatedAt   string          `json:"updated_at" db:"updated_at"`
}

const sqlDocument = `SELECT s.id, s.status, s.session_data, s.vector_clock, s.server_seq, s.updated_at, coalesce(d.n, 0)
	FROM test_sessions s LEFT JOIN crdt_docs d ON d.key = s.id WHERE s.id = {:id}`

// Document returns the document with everything acknowledged so far, or ErrNoSession.
func (s *Service) Document(ctx context.Context, sessionID string) (Document, error) {
	var d Document
	var n int64
	err := s.app.ConcurrentDB().NewQuery(sqlDocument).WithContext(ctx).Bind(dbx.Params{"id": sessionID}).
		Row(&d.SessionID, &d.Status, (*[]byte)(&d.Data), (*[]byte)(&d.VectorClock), &d.ServerSeq, &d.UpdatedAt, &n)
	if errors.Is(err, sql.ErrNoRows) {
		return d, ErrNoSession
	}
	if err != nil {
		return d, fmt.Errorf("read document: %w", err)
	}
	if d.ServerSeq < n { // a large record, written now and then
		_, err = s.view(ctx, sessionID, func(doc *document) {
			d.Data, d.VectorClock, d.ServerSeq = doc.state.Materialise(s.schema), doc.state.Version().AppendJSON(nil), doc.n
		})
	}
	return d, err
}

// Newer returns the document when its log goes beyond the position that its record shows,
// and nil when the record is up to date: a large record is written now and then only.
func (s *Service) Newer(ctx context.Context, sessionID string, shown int64) (*Document, error) {
	at, err := readPosition(ctx, s.app.ConcurrentDB(), sessionID)
	if err != nil || at.n <= shown {
		return nil, err
	}
	d := &Document{SessionID: sessionID}
	_, err = s.view(ctx, sessionID, func(doc *document) {
		d.Data, d.VectorClock, d.ServerSeq = doc.state.Materialise(s.schema), doc.state.Version().AppendJSON(nil), doc.n
	})
	return d, err
}

// Ops returns the operations after a server position, in order, at most limit of them and
// never more than 1,000; limit 0 means that. Errors: ErrNoSession.
func (s *Service) Ops(ctx context.Context, sessionID string, after int64, limit int) ([]Row, error) {
	if limit <= 0 || limit > readRowsMax {
		limit = readRowsMax
	}
	db := s.app.ConcurrentDB()
	at, err := s.position(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	list := []Row{}
	rows, err := db.NewQuery(`SELECT n, recv, q, ` + sqlErasedHash + `, line FROM crdt_ops WHERE doc = {:doc} AND n > {:after} ORDER BY n LIMIT {:limit}`).
		WithContext(ctx).Bind(dbx.Params{"doc": at.id, "after": after, "limit": limit}).Rows()
	if err != nil {
		return nil, fmt.Errorf("read operations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n, received, flags int64
		var hash, line []byte
		if err := rows.Scan(&n, &received, &flags, &hash, &line); err != nil {
			return nil, fmt.Errorf("read operations: %w", err)
		}
		list = append(list, newRow(n, received, flags, hash, line))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read operations: %w", err)
	}
	return list, nil
}

// position is readPosition for a session that MUST exist.
func (s *Service) position(ctx context.Context, sessionID string) (position, error) {
	db := s.app.ConcurrentDB()
	at, err := readPosition(ctx, db, sessionID)
	if err != nil || at.id != 0 {
		return at, err
	}
	var one int
	err = db.Select("(1)").From(collections.TestSessions).Where(idIs(sessionID)).WithContext(ctx).Row(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return at, ErrNoSession
	}
	return at, err
}

// view runs fn on the document with everything acknowledged so far and returns the position
// at which fn saw it: what else is read for the same answer goes exactly that far. fn MUST be
// short and keep nothing of the document.
func (s *Service) view(ctx context.Context, sessionID string, fn func(*document)) (position, error) {
	at, err := s.position(ctx, sessionID)
	if err != nil {
		return at, err
	}
	if d := s.cache.get(sessionID); d != nil && d.read(at.n, func() { fn(d); at.n = d.n }) {
		return at, nil
	}
	select {
	case s.loads <- struct{}{}:
		defer func() { <-s.loads }()
	case <-ctx.Done():
		return at, ctx.Err()
	}
	d, err := load(ctx, s.app.ConcurrentDB(), sessionID, at)
	if err != nil {
		return at, err
	}
	fn(d)
	s.cache.offer(d)
	return at, nil
}
