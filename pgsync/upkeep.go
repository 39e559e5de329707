package pgsync

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pocketbase/dbx"
)

const (
	pruneEvery = 10 * time.Minute
	// pruneMaxRows keeps the application's writer free: one delete of this size takes some milliseconds.
	pruneMaxRows = 5000
	// writeTimeout bounds the wait for PocketBase's one writing connection.
	writeTimeout = 5 * time.Second
)

// write runs one statement on PocketBase's writing connection, in turn with everybody else's.
func (w *Worker) write(ctx context.Context, query string, params dbx.Params) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	db := w.app.NonconcurrentDB()
	if db == nil {
		return errors.New("the database is closed")
	}
	_, err := db.NewQuery(query).Bind(params).WithContext(ctx).Execute()
	return err
}

// prune removes log entries that are mirrored and older than KeepLog. The entry at the position stays: it is the anchor
// by which a fork is noticed.
func (w *Worker) prune(ctx context.Context) error {
	acked := w.ses.pos.Seq
	err := w.write(ctx, `DELETE FROM _pgsync_log WHERE seq IN (
		SELECT seq FROM _pgsync_log WHERE seq < {:acked}
		   AND seq < coalesce((SELECT seq FROM _pgsync_log WHERE at >= {:young} ORDER BY seq LIMIT 1), {:acked})
		 ORDER BY seq LIMIT {:rows})`,
		dbx.Params{"acked": acked, "young": time.Now().Add(-w.cfg.KeepLog).UnixMilli(), "rows": pruneMaxRows})
	if err == nil {
		err = w.write(ctx, `DELETE FROM _pgsync_cut WHERE seq <= {:acked}`, dbx.Params{"acked": acked})
	}
	if err != nil {
		return fmt.Errorf("%w: prune log: %w", errSource, err)
	}
	w.saveHint(ctx)
	return w.ses.pruneRuns(ctx)
}

// saveHint notes the position in SQLite, for a status that makes sense before PostgreSQL is reached. Nothing else
// relies on it, so a failure does not matter: the position itself lives in PostgreSQL only.
func (w *Worker) saveHint(ctx context.Context) {
	_ = w.write(context.WithoutCancel(ctx), `INSERT INTO _pgsync_meta (k,v) VALUES ({:k},{:v}) ON CONFLICT (k) DO UPDATE SET v=excluded.v`,
		dbx.Params{"k": metaAckedHint, "v": strconv.FormatInt(w.lastPosition(), 10)})
}

// recordCut notes the end of the log as the end of a source transaction, so that a long backlog can be applied in
// pieces. A cut that could not be recorded only makes a later batch larger.
func (w *Worker) recordCut(ctx context.Context, last int64) {
	if last == w.cutSeq {
		return
	}
	err := w.write(ctx, `INSERT OR IGNORE INTO _pgsync_cut (seq, at)
		SELECT max(seq), `+nowMillis+` FROM _pgsync_log HAVING max(seq) IS NOT NULL`, nil)
	if err == nil {
		w.cutSeq = last
	}
}
