package seed

import (
	"fmt"
	"slices"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// sync sends the operations of every visit that the server does not hold yet.
func (w *writer) sync(m maker, visits []visit, c Config) error {
	if err := w.issueActors(m); err != nil {
		return err
	}
	for chunk := range slices.Chunk(visits, longRowsPerTransaction) {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		var missing []Batch
		added := 0
		for _, v := range chunk {
			lacking, err := w.lacking(v)
			if err != nil {
				return err
			}
			if lacking > 0 {
				missing, added = append(missing, v.batches...), added+lacking
			}
		}
		if added > 0 {
			if err := c.Sync(w.ctx, missing); err != nil {
				return fmt.Errorf("sync sessions: %w", err)
			}
		}
		w.added[collections.TableCRDTOps] += added
		w.progress(len(chunk))
	}
	return nil
}

// lacking is how many operations of the visit are not in the log.
func (w *writer) lacking(v visit) (int, error) {
	var held, want int
	if err := w.app.DB().Select(collections.FieldServerSeq).From(collections.TestSessions).Where(dbx.HashExp{collections.FieldID: v.id}).Row(&held); err != nil {
		return 0, fmt.Errorf("read session %s: %w", v.id, err)
	}
	for _, b := range v.batches {
		want += len(b.Lines)
	}
	return max(0, want-held), nil
}

// issueActors gives each inspector's tablet the actor id that its operations
// carry. The merge service would choose a random one.
func (w *writer) issueActors(m maker) error {
	return w.inTx(func(tx core.App) error {
		for _, p := range people {
			if p.role != collections.RoleInspector {
				continue
			}
			_, err := tx.NonconcurrentDB().NewQuery("INSERT INTO " + collections.TableCRDTActors + " (key, user, device) VALUES ({:key}, {:user}, {:device}) ON CONFLICT DO NOTHING").
				Bind(dbx.Params{"key": m.actor(p.username, "tablet"), "user": m.userID(p.username), "device": deviceName(p.username)}).Execute()
			if err != nil {
				return fmt.Errorf("issue an actor to %s: %w", p.username, err)
			}
		}
		return nil
	})
}

// closeSessions moves the older visits on. One that people have moved is left.
func (w *writer) closeSessions(visits []visit) error {
	for chunk := range slices.Chunk(visits, rowsPerTransaction) {
		err := w.inTx(func(tx core.App) error {
			for _, v := range chunk {
				if err := moveSession(tx, v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		w.progress(len(chunk))
	}
	return nil
}

func moveSession(tx core.App, v visit) error {
	if v.status == collections.SessionActive {
		return nil
	}
	record, err := tx.FindRecordById(collections.TestSessions, v.id)
	if err != nil {
		return fmt.Errorf("find session %s: %w", v.id, err)
	}
	if record.GetString(collections.FieldStatus) != collections.SessionActive {
		return nil
	}
	record.Set(collections.FieldStatus, v.status)
	if err := tx.Save(record); err != nil {
		return fmt.Errorf("move session %s to %s: %w", v.id, v.status, err)
	}
	return nil
}
