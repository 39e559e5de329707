package hooks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"firemode/audit"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
)

// paramSealedKeys names the row of _fm_params with the ids of the keys that
// values may be sealed with, so that a start with one of them missing is noticed
// without opening every value at each start.
const paramSealedKeys = "sealed keys"

// keyUnknown stands for the keys of a data directory that never had that row.
// No keyring has it, so the first check opens every value.
const keyUnknown = "unknown"

// MissingKeyError reports that values are sealed with keys that the keyring lacks.
type MissingKeyError struct {
	Keys   []string // their ids
	Values int      // that do not open
}

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("%d sealed values open with no key of FERNET_KEY, which lacks the key %[2]s: put it back at the end of FERNET_KEY, or, if it is lost for good, run: firemode keys forget %[2]s",
		e.Values, strings.Join(e.Keys, " "))
}

// NoteKeys writes down that ring seals with its first key. Run it before
// anything is sealed; it is cheap when it is known already.
func NoteKeys(app core.App, ring *sealed.Keyring) error {
	ids := ring.KeyIDs()
	if len(ids) == 0 {
		return nil // nothing can be sealed
	}
	noted, err := notedKeys(app)
	if err != nil || slices.Contains(noted, ids[0]) {
		return err
	}
	return app.RunInTransaction(func(tx core.App) error {
		noted, err := notedKeys(tx)
		if err != nil {
			return err
		}
		return writeKeys(tx, append(noted, ids[0]))
	})
}

// CheckKeys returns a [*MissingKeyError] when ring lacks a key that a value is
// sealed with. Only when a key was taken away does it open every value, and
// then it forgets that key unless it is needed.
func CheckKeys(ctx context.Context, app core.App, ring *sealed.Keyring) error {
	noted, err := notedKeys(app)
	if err != nil {
		return err
	}
	held := ring.KeyIDs()
	missing := slices.DeleteFunc(noted, func(id string) bool { return slices.Contains(held, id) })
	if len(missing) == 0 {
		return nil
	}
	counts, err := CountSealed(ctx, app, ring)
	if err != nil {
		return fmt.Errorf("check the keys: %w", err)
	}
	unreadable, used := 0, []string{}
	for _, c := range counts {
		unreadable += c.Unreadable
		for id := range c.ByKey {
			used = append(used, id)
		}
	}
	if unreadable > 0 {
		return &MissingKeyError{Keys: missing, Values: unreadable}
	}
	return changeKeys(app, missing, used)
}

// ForgetKeys accepts that keys are lost, with what only they open: it is kept,
// and answered with an error when it is read.
func ForgetKeys(app core.App, ids []string) error {
	return app.RunInTransaction(func(tx core.App) error {
		noted, err := notedKeys(tx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if !slices.Contains(noted, id) {
				return fmt.Errorf("no value was ever sealed with a key %q; known are %s", id, strings.Join(noted, ", "))
			}
		}
		if err := changeKeys(tx, ids, nil); err != nil {
			return err
		}
		_, err = audit.Append(tx, audit.Entry{Action: "forget_keys", ResourceType: "keys", New: map[string]any{"keys": ids}})
		return err
	})
}

// changeKeys takes ids off the list and puts others on it.
func changeKeys(app core.App, gone, used []string) error {
	return app.RunInTransaction(func(tx core.App) error {
		noted, err := notedKeys(tx)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(noted, func(id string) bool { return slices.Contains(gone, id) })
		return writeKeys(tx, append(left, used...))
	})
}

func notedKeys(app core.App) ([]string, error) {
	value, err := readParam(app, paramSealedKeys)
	if err != nil {
		return nil, err
	}
	if value == "" {
		return []string{keyUnknown}, nil
	}
	return strings.Fields(value), nil
}

// writeKeys keeps a mark where nothing is left, which is not the same as a list
// that was never written.
func writeKeys(tx core.App, ids []string) error {
	slices.Sort(ids)
	return writeParam(tx, paramSealedKeys, strings.Join(slices.Compact(ids), " ")+" ")
}
