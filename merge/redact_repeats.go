package merge

import (
	"encoding/hex"
	"errors"
	"fmt"

	"firemode/audit"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// A device that has not heard of a redaction can bring the value back: it forks, and issues
// the act again under another name (R12). So an act is erased under all its names: those in
// the log with the redaction, those that arrive later by a redaction of the server's own.

// erasedActs are the operations of the log whose values were erased, by what one issued again
// for them would have as its origin.
func (r *round) erasedActs(d *document) (map[string][]crdt.Op, error) {
	if d.erased != nil {
		return d.erased, nil
	}
	acts := map[string][]crdt.Op{}
	err := r.eachStored(`SELECT o.q, o.hash, o.line FROM crdt_redactions r JOIN crdt_ops o ON o.doc = r.doc AND o.n = r.n WHERE r.doc = {:doc}`,
		dbx.Params{"doc": d.id}, func(op crdt.Op) { acts[op.OriginHash()] = append(acts[op.OriginHash()], op) })
	if err != nil {
		return nil, fmt.Errorf("read erased operations: %w", err)
	}
	d.erased = acts
	return acts, nil
}

// eachStored calls fn for every row of q, hash and line.
func (r *round) eachStored(sql string, params dbx.Params, fn func(op crdt.Op)) error {
	rows, err := r.stmt(sql, params).Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var flags int64
		var hash, line []byte
		if err := rows.Scan(&flags, &hash, &line); err != nil {
			return err
		}
		op, err := parseStored(flags, hash, line)
		if err != nil {
			return err
		}
		fn(op)
	}
	return rows.Err()
}

// withRepeats returns dots and behind them the other names under which the log holds the
// same acts with their values.
func (r *round) withRepeats(d *document, dots []string) ([]string, error) {
	if !d.state.Claimed() && len(d.state.Quarantined()) == 0 {
		return dots, nil // nothing in the log has an origin
	}
	named := map[string]bool{}
	for _, text := range dots {
		named[text] = true
	}
	all := dots[:len(dots):len(dots)]
	for _, text := range dots {
		dot, _ := crdt.ParseDot(text)
		_, op, _, err := r.logged(d, dot)
		if err != nil {
			return nil, err
		}
		root := op.OriginHash()
		sum, err := hex.DecodeString(root)
		if err != nil {
			return nil, fmt.Errorf("read origin: %w", err)
		}
		// A value may hold the text too, and a second act the origin: Repeats decides.
		err = r.eachStored(`SELECT q, hash, line FROM crdt_ops WHERE doc = {:doc} AND q & 32 = 0
			AND (substr(hash, 1, 16) = {:sum} OR instr(line, {:origin}) > 0)`,
			dbx.Params{"doc": d.id, "sum": sum, "origin": []byte(`"o":"` + root + `"`)}, func(other crdt.Op) {
				if name := other.Dot.String(); !named[name] && other.Repeats(&op) && len(all) < crdt.SeenMax {
					named[name] = true
					all = append(all, name)
				}
			})
		if err != nil {
			return nil, fmt.Errorf("find what was issued again: %w", err)
		}
	}
	return all, nil
}

// eraseRepeats erases the values of those of ops, stored just now, that were erased under
// another name before. Under legal hold they stay, like everything else.
func (b *Batch) eraseRepeats(d *document, ops []crdt.Op) error {
	acts, err := b.r.erasedActs(d)
	if err != nil || len(acts) == 0 {
		return err
	}
	var dots []string
	for i := range ops {
		op := &ops[i]
		if crdt.IsRedacted(op.Val) {
			continue
		}
		for _, erased := range acts[op.OriginHash()] {
			if erased.Dot != op.Dot && op.Repeats(&erased) {
				dots = append(dots, op.Dot.String())
				break
			}
		}
	}
	if dots == nil {
		return nil
	}
	if err := checkHold(b.r.stmt, d.session); err != nil {
		if errors.Is(err, ErrLegalHold) {
			return nil
		}
		return err
	}
	defer audit.Attribute(b.r.tx, audit.Actor{Role: audit.SystemRole})()
	_, err = b.redact(RedactRequest{SessionID: d.session, Dots: dots, Reason: "issued again after it was erased"})
	return err
}
