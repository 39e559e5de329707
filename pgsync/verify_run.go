package pgsync

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// errNoRuns says that the schema of PostgreSQL is of the time before sealed runs.
var errNoRuns = errors.New("PostgreSQL has no table for runs yet: start this version of the server once")

// storeRun writes the outcome of a comparison down, whatever it is.
func storeRun(ctx context.Context, conn *pgx.Conn, r *Report, origin int16) error {
	tables, err := json.Marshal(r.Tables)
	if err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	source, err1 := hex.DecodeString(r.SourceRoot)
	mirror, err2 := hex.DecodeString(r.MirrorRoot)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	_, err = conn.Exec(ctx, sqlStoreRun, r.Run, origin, r.Epoch, r.Position, r.At, r.Equal, r.Rows, r.Quarantined, r.Differing,
		source, mirror, string(tables))
	if classify(err) == classDrift {
		return errNoRuns
	}
	if err != nil {
		return fmt.Errorf("store run: %s", publicText(err))
	}
	r.Sealed = true
	return nil
}

// readRun reads a sealed run of a source: the named one, or with "" the newest that was equal.
func readRun(ctx context.Context, conn *pgx.Conn, sourceID, run string) (r Report, origin int16, err error) {
	var at time.Time
	var source, mirror []byte
	var tables string
	found, err := queryOne(ctx, conn, sqlReadRun, []any{sourceID, run}, &r.Run, &origin, &r.Epoch, &r.Position, &at, &r.Equal,
		&source, &mirror, &tables)
	switch {
	case classify(err) == classDrift:
		return r, 0, errNoRuns
	case err != nil:
		return r, 0, fmt.Errorf("read run: %s", publicText(err))
	case !found:
		return r, 0, ErrNoRun
	}
	if err := json.Unmarshal([]byte(tables), &r.Tables); err != nil {
		return r, 0, fmt.Errorf("decode run: %w", err)
	}
	r.SourceID, r.At, r.Sealed = sourceID, at.UTC(), true
	stored := [2]string{hex.EncodeToString(source), hex.EncodeToString(mirror)}
	equal := r.Equal
	if err := r.conclude(); err != nil {
		return r, 0, fmt.Errorf("decode run: %w", err)
	}
	if stored != [2]string{r.SourceRoot, r.MirrorRoot} || equal != r.Equal {
		return r, 0, fmt.Errorf("run %s is not what was stored: its roots are not those of its tables", r.Run)
	}
	return r, origin, nil
}
