package pgsync

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// salvage applies changes so that every one PostgreSQL accepts is in and every other is in quarantine. It halves the
// set until the refused rows stand alone; each try runs in a savepoint with all deferred checks forced, because at
// commit it would be too late to learn which row was to blame.
func (x *txn) salvage(ctx context.Context, changes []*change) error {
	// Parents first, so that a child never fails only because of the order; deletes after, children first.
	rank := map[string]int{}
	for i, coll := range x.reg.order() {
		rank[coll] = i
	}
	slices.SortStableFunc(changes, func(a, b *change) int {
		aGone, bGone := a.op == opDelete, b.op == opDelete
		switch {
		case aGone != bGone && aGone:
			return 1
		case aGone != bGone:
			return -1
		case aGone:
			return rank[b.table.Coll] - rank[a.table.Coll]
		}
		return rank[a.table.Coll] - rank[b.table.Coll]
	})
	return x.bisect(ctx, changes)
}

func (x *txn) bisect(ctx context.Context, changes []*change) error {
	if len(changes) == 0 {
		return nil
	}
	refusal, err := x.try(ctx, changes)
	if err != nil || refusal == nil {
		return err
	}
	if len(changes) == 1 {
		c := changes[0]
		x.quarantine(c, refusal.Code, refusal.ConstraintName, "refused by "+c.table.Name)
		return x.flush(ctx)
	}
	half := len(changes) / 2
	if err := x.bisect(ctx, changes[:half]); err != nil {
		return err
	}
	return x.bisect(ctx, changes[half:])
}

// try applies changes in a savepoint. refusal is set when PostgreSQL would not take them, and nothing of them is in.
func (x *txn) try(ctx context.Context, changes []*change) (refusal *pgconn.PgError, err error) {
	x.batch.Queue("SAVEPOINT salvage")
	x.queue(changes)
	x.batch.Queue("SET CONSTRAINTS ALL IMMEDIATE")
	x.batch.Queue("SET CONSTRAINTS ALL DEFERRED")
	x.batch.Queue("RELEASE SAVEPOINT salvage")
	err = x.flush(ctx)
	if classify(err) == classData && errors.As(err, &refusal) {
		_, err = x.s.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT salvage")
	}
	return refusal, err
}
