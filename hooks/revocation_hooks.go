package hooks

import (
	"context"
	"errors"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

const (
	// pollInterval is how often rows of other processes are looked for, and open
	// streams are judged anew. With one round trip it keeps the promise of two
	// seconds.
	pollInterval = time.Second
	sweepCron    = "*/10 * * * *"
	// priorityRevoke sets fields before the audit handler compares the record.
	priorityRevoke = priorityAudit - 5
)

// registerRevocation keeps the list of revoked tokens in memory, ends all
// tokens of a user whose password or activation changes, and cuts the streams
// of tokens that are no longer good.
func registerRevocation(app core.App, t *Tokens) {
	app.OnRecordAfterCreateSuccess(collections.RevokedTokens).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.revocation.added",
		Func: func(e *core.RecordEvent) error {
			jti := e.Record.GetString(collections.FieldTokenJTI)
			t.add(jti, e.Record.GetDateTime(collections.FieldExpiresAt).Time())
			cutStreams(e.App, func(info TokenInfo) bool { return info.JTI == jti })
			return e.Next()
		},
	})
	app.OnRecordUpdate(collections.RevokedTokens).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.revocation.no-update",
		Func: func(*core.RecordEvent) error {
			return errors.New("a revocation is never changed")
		},
	})
	app.OnRecordDelete(collections.RevokedTokens).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.revocation.no-delete",
		Func: func(*core.RecordEvent) error {
			return errors.New("a revocation is never taken back; it ends with its token")
		},
	})
	app.OnRecordUpdateExecute(collections.Users).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.revocation.outdate", Priority: priorityRevoke,
		Func: func(e *core.RecordEvent) error {
			if endsTokens(e.Record) {
				t.outdate(e.Record)
			}
			return e.Next()
		},
	})
	for name, on := range map[string]*hook.TaggedHook[*core.RecordEvent]{
		"update": app.OnRecordAfterUpdateSuccess(collections.Users, collections.Superusers),
		"delete": app.OnRecordAfterDeleteSuccess(collections.Users, collections.Superusers),
	} {
		on.Bind(&hook.Handler[*core.RecordEvent]{
			Id: "firemode.revocation.cut." + name,
			Func: func(e *core.RecordEvent) error {
				if name == "delete" || e.Record.TokenKey() != e.Record.Original().TokenKey() {
					cutStreams(e.App, func(info TokenInfo) bool { return info.UserID == e.Record.Id })
				}
				return e.Next()
			},
		})
	}
	registerStreams(app, t)
	app.Cron().MustAdd("firemode.revocation.sweep", sweepCron, func() {
		if err := t.sweep(app); err != nil {
			app.Logger().Error("the revocation list was not swept", "error", err)
		}
	})
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.revocation.serve",
		Func: func(se *core.ServeEvent) error {
			// A server that does not know what is revoked must not start.
			if err := t.readNew(se.App); err != nil {
				return err
			}
			if err := se.Next(); err != nil {
				return err
			}
			t.startPoll(se.App)
			return nil
		},
	})
	app.OnTerminate().Bind(&hook.Handler[*core.TerminateEvent]{
		Id: "firemode.revocation.stop",
		Func: func(e *core.TerminateEvent) error {
			t.stopPoll() // while the database is open
			return e.Next()
		},
	})
}

// endsTokens says whether a save changes the password of a user or switches
// the account off.
func endsTokens(r *core.Record) bool {
	was := r.Original()
	switchedOff := was.GetBool(collections.FieldIsActive) && !r.GetBool(collections.FieldIsActive)
	return switchedOff || storedHash(r) != storedHash(was)
}

// startPoll begins to read the list once per interval; it does nothing when
// that runs already.
func (t *Tokens) startPoll(app core.App) {
	t.pollMu.Lock()
	defer t.pollMu.Unlock()
	if t.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		ticker := time.NewTicker(pollInterval)
		defer ticker.Stop()
		failures := 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			err := t.step(app)
			switch {
			case err != nil && failures%60 == 0: // the first one, then one a minute
				app.Logger().Error("revocations of other processes are not seen; every check asks the database", "error", err, "failures", failures+1)
			case err == nil && failures > 0:
				app.Logger().Info("revocations of other processes are seen again", "failures", failures)
			}
			if err != nil {
				failures++
			} else {
				failures = 0
			}
		}
	}()
}

// stopPoll ends the poll and waits for it.
func (t *Tokens) stopPoll() {
	t.pollMu.Lock()
	defer t.pollMu.Unlock()
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// step is one round of the poll.
func (t *Tokens) step(app core.App) error {
	return errors.Join(t.readNew(app), t.judgeStreams(app))
}
