package hooks

import "github.com/pocketbase/pocketbase/core"

// inTx runs fn inside one transaction of *app, with *app replaced by the
// transaction's app while fn runs. Inside a running transaction it joins it.
// A hook that writes a second row runs e.Next() and its own write in here;
// without it the first row would stay when the second fails.
func inTx(app *core.App, fn func() error) error {
	outer := *app
	defer func() { *app = outer }()
	return outer.RunInTransaction(func(tx core.App) error {
		*app = tx
		return fn()
	})
}
