package pgsync

import (
	"context"
	"fmt"

	"github.com/pocketbase/pocketbase/core"
)

// Adopt ends a hold for a fork or a gap: it declares the log of this database to be the one to mirror from now on. A new
// epoch begins at the end of the log, and every table is compared with the source and made equal to it by the worker
// that runs, or the next one that starts. Rows that only the mirror has are deleted from its tables; the journal keeps
// what it has. It is an operator's decision: between two databases that both claim to be the source, nobody else can
// choose.
func Adopt(ctx context.Context, app core.App, dsn string) error {
	cfg := Config{DSN: dsn}.withDefaults()
	if err := cfg.validate(); err != nil {
		return err
	}
	who, err := identify(app.DataDir())
	if err != nil {
		return err
	}
	src, err := openSource(ctx, app)
	if err != nil {
		return err
	}
	defer src.close()
	s, err := openSession(ctx, cfg, src, who, true, true)
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	defer s.close(ctx)
	s.resign(ctx)
	return nil
}
