package audit

import (
	"errors"
	"sync"

	"github.com/pocketbase/pocketbase/core"
)

// SystemRole is the role of entries that no person caused.
const SystemRole = "system"

// ErrNoTransaction reports a call with an app that is not inside a transaction.
var ErrNoTransaction = errors.New("audit needs a transaction")

// An Actor is who acts and where the request came from. Every field may be
// empty; ID is empty for the system itself and for guests.
type Actor struct {
	ID         string // id of the record in Collection
	Role       string // role of a user, "superuser:<role>", "guest" or "system"
	Collection string // users or _superusers
	IP         string
	UserAgent  string // for a command line: "firemode <command>"
	RequestID  string
}

// attributed maps a running transaction to its actor. It is keyed by pointer,
// so transactions of different apps never meet, and emptied on completion.
var attributed sync.Map // *core.TxAppInfo -> Actor

// Attribute binds a to the transaction of tx until it completes or until
// release is called, whichever is first. A group commit calls release after
// each of its jobs. Outside a transaction it panics: that is a programming
// error which would silently misattribute records.
func Attribute(tx core.App, a Actor) (release func()) {
	info := tx.TxInfo()
	if info == nil {
		panic("audit: internal error: " + ErrNoTransaction.Error())
	}
	before, had := attributed.Load(info)
	attributed.Store(info, a)
	if !had {
		info.OnComplete(func(error) error {
			attributed.Delete(info)
			return nil
		})
	}
	return func() {
		if had {
			attributed.Store(info, before)
			return
		}
		attributed.Delete(info)
	}
}

// ActorOf returns who acts in the transaction of app, or the system of the
// process when nobody was attributed.
func ActorOf(app core.App) Actor {
	if info := app.TxInfo(); info != nil {
		if a, ok := attributed.Load(info); ok {
			return a.(Actor)
		}
	}
	return configOf(app).System
}
