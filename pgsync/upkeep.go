package pgsync

import (
	"context"
	"fmt"
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

// prune removes log entries that are mirrored and older than KeepLog. The entry at the position stays: it is the anchor
// by which a fork is noticed.
func (w *Worker) prune(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	young := time.Now().Add(-w.cfg.KeepLog).UnixMilli()
	_, err := w.app.NonconcurrentDB().NewQuery(`DELETE FROM _pgsync_log WHERE seq IN (
		SELECT seq FROM _pgsync_log WHERE seq < {:acked}
		   AND seq < coalesce((SELECT seq FROM _pgsync_log WHERE at >= {:young} ORDER BY seq LIMIT 1), {:acked})
		 ORDER BY seq LIMIT {:rows})`).
		Bind(dbx.Params{"acked": w.ses.pos.Seq, "young": young, "rows": pruneMaxRows}).WithContext(ctx).Execute()
	if err == nil {
		_, err = w.app.NonconcurrentDB().NewQuery(`DELETE FROM _pgsync_cut WHERE seq <= {:acked}`).
			Bind(dbx.Params{"acked": w.ses.pos.Seq}).WithContext(ctx).Execute()
	}
	if err != nil {
		return fmt.Errorf("%w: prune log: %w", errSource, err)
	}
	return nil
}

// recordCut notes the end of the log as the end of a source transaction, so that a long backlog can be applied in
// pieces. A cut that could not be recorded only makes a later batch larger.
func (w *Worker) recordCut(ctx context.Context, last int64) {
	if last == w.cutSeq {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := w.app.NonconcurrentDB().NewQuery(`INSERT OR IGNORE INTO _pgsync_cut (seq, at)
		SELECT max(seq), ` + nowMillis + ` FROM _pgsync_log HAVING max(seq) IS NOT NULL`).WithContext(ctx).Execute()
	if err == nil {
		w.cutSeq = last
	}
}
