package pgsync

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// Every comparison of a table with the source leaves a line in fm_sync.reconcile_run, written in the transactions of its
// repairs: why it was made, what it found, and what of that is repaired.

// Why a table is compared.
const (
	ModeSnapshot = "snapshot" // rows that were there before the log, or whose changes it may lack
	ModeShape    = "shape"    // its columns changed, or somebody changed them in PostgreSQL
	ModeAdopt    = "adopt"    // another log was adopted
	ModeRepair   = "repair"   // asked for
	ModeRebuild  = "rebuild"  // asked for, all tables
	ModeRolling  = "rolling"  // all tables in turn, by themselves
)

// runsMax is how many finished lines an origin keeps: at least two months of them on a quiet mirror.
const runsMax = 1000

// resyncMark is the image of a log entry of opResync; one without an image is a snapshot.
type resyncMark struct {
	Run  string `json:"run"`
	Mode string `json:"mode"`
	Drop bool   `json:"drop,omitempty"` // empty the table first
}

func (m resyncMark) encode() string {
	b, err := json.Marshal(m)
	if err != nil {
		panic("pgsync: internal error: encode mark: " + err.Error()) // strings and a bool only
	}
	return string(b)
}

func readMark(img []byte) (resyncMark, error) {
	if img == nil {
		return resyncMark{Run: uuid.NewString(), Mode: ModeSnapshot}, nil
	}
	var m resyncMark
	if err := json.Unmarshal(img, &m); err != nil {
		return m, fmt.Errorf("decode mark: %w", err)
	}
	return m, nil
}

// startRun begins the line of a table's comparison; one that was under way is over.
func (x *txn) startRun(coll string, m resyncMark, seq int64) {
	x.batch.Queue(sqlAbandonRun, x.s.origin, coll)
	x.batch.Queue(sqlAddRun, m.Run, x.s.origin, x.to.Epoch, seq, coll, m.Mode, 0, 0, 0, nil, false)
}

// noteRun adds to the line that is open what a piece of the table showed. changes MUST be written already.
func (x *txn) noteRun(coll string, rows, changes int, ended bool) {
	x.batch.Queue(sqlNoteRun, x.s.origin, coll, rows, changes, changes-x.quarantined, ended)
}

// pruneRuns keeps the newest lines.
func (s *session) pruneRuns(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	_, err := s.conn.Exec(ctx, sqlPruneRuns, s.origin, runsMax)
	return err
}

// A Comparison is one run over one or more tables that compared them with the source and repaired what differed.
type Comparison struct {
	Run       string     `json:"run"`
	Mode      string     `json:"mode"`
	Tables    int        `json:"tables"`
	Open      int        `json:"open"` // tables that are not done
	Rows      int64      `json:"rows"`
	Diffs     int64      `json:"diffs"`
	Repaired  int64      `json:"repaired"`            // the others went to quarantine
	Differing []string   `json:"differing,omitempty"` // tables with differences
	Started   time.Time  `json:"started"`
	Ended     *time.Time `json:"ended,omitempty"` // of the last table that is done
}

// Comparisons are the newest runs, those under way first.
func Comparisons(ctx context.Context, app core.App, dsn string) ([]Comparison, error) {
	src, conn, sourceID, err := openBoth(ctx, app, dsn)
	if err != nil {
		return nil, err
	}
	defer src.close()
	defer conn.Close(context.WithoutCancel(ctx))
	list, err := comparisons(ctx, conn, sourceID)
	if err != nil {
		return nil, fmt.Errorf("read comparisons: %s", publicText(err))
	}
	return list, nil
}

// comparisons are none where nothing was ever mirrored.
func comparisons(ctx context.Context, conn *pgx.Conn, sourceID string) ([]Comparison, error) {
	rows, err := conn.Query(ctx, sqlComparisons, sourceID)
	if err == nil {
		var list []Comparison
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Comparison]); err == nil {
			return list, nil
		}
	}
	if classify(err) == classDrift {
		return nil, nil
	}
	return nil, err
}

// openBoth opens both databases to look at them.
func openBoth(ctx context.Context, app core.App, dsn string) (src *source, conn *pgx.Conn, sourceID string, err error) {
	cfg := Config{DSN: dsn}.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, nil, "", err
	}
	if src, err = openSource(ctx, app); err != nil {
		return nil, nil, "", err
	}
	if sourceID, err = src.id(ctx); err == nil {
		if conn, err = dial(ctx, cfg); err == nil {
			return src, conn, sourceID, nil
		}
		err = fmt.Errorf("connect: %s", publicText(err))
	}
	src.close()
	return nil, nil, "", err
}
