package merge

import (
	"errors"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/tools/types"
)

const (
	sqlMaterialise = `UPDATE test_sessions SET session_data = {:data}, vector_clock = {:clock}, server_seq = {:n}, updated_at = {:at} WHERE id = {:id}`
	sqlSetPosition = `UPDATE crdt_docs SET n = {:n} WHERE id = {:id}`
)

// materialise writes the document into the session's record, in the transaction of its
// operations.
func (r *round) materialise(d *document) error {
	res, err := r.stmt(sqlMaterialise, dbx.Params{
		"id": d.session, "n": d.n, "at": r.s.config.Now().UTC().Format(types.DefaultDateLayout),
		"data":  string(d.state.Materialise(r.s.schema)),
		"clock": string(d.state.Version().AppendJSON(nil)),
	}).Execute()
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrNoSession, err)
	}
	return r.exec(sqlSetPosition, dbx.Params{"id": d.id, "n": d.n})
}
