package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"firemode/audit"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// A device that has not heard of a redaction can bring the value back: it forks, and issues
// the act again under another name (R12). So an act is erased under all its names: those that
// the log has with the redaction; and one that arrives later is stored without its value. Only
// its own author issues an act again: what somebody else says under its origin is theirs.

// act is what somebody says, whatever the name. A value is its print, erased or not.
type act struct {
	user string
	kind crdt.Kind
	path string
	val  string
	n    int64
}

func actOf(user string, op *crdt.Op) act {
	a := act{user: user, kind: op.Kind, path: op.Path, n: op.N}
	if op.Val != "" {
		a.val = crdt.Redacted(op.Val)
	}
	return a
}

// erasedActs are acts by what an operation issued again for them has as its origin.
type erasedActs map[string]map[act]struct{}

func (e erasedActs) add(user string, op *crdt.Op) {
	root := op.OriginHash()
	if e[root] == nil {
		e[root] = map[act]struct{}{}
	}
	e[root][actOf(user, op)] = struct{}{}
}

// has reports whether op, said by user, is one of the acts under whatever name.
func (e erasedActs) has(user string, op *crdt.Op) bool {
	acts := e[op.OriginHash()]
	if acts == nil {
		return false // before anything is hashed that is large
	}
	_, is := acts[actOf(user, op)]
	return is
}

// erasedActs returns the acts of the document that were erased.
func (r *round) erasedActs(d *document) (erasedActs, error) {
	if d.erased != nil {
		return d.erased, nil
	}
	acts := erasedActs{}
	err := r.eachStored(`q & 32 <> 0`, dbx.Params{"doc": d.id}, acts.add)
	if err != nil {
		return nil, fmt.Errorf("read erased operations: %w", err)
	}
	d.erased = acts
	return acts, nil
}

// comesBack reports whether op is an act that was erased, and so comes without its value. What
// would stay if an officer wanted it erased stays here too.
func (r *round) comesBack(erased erasedActs, user string, op *crdt.Op, flags int64) bool {
	return len(erased) > 0 && erased.has(user, op) && !crdt.IsRedacted(op.Val) && r.s.stays(op, flags&flagQuarantined != 0) == ""
}

// eachStored calls fn for the operations of a document that a condition chooses, with the user
// whose they are.
func (r *round) eachStored(condition string, params dbx.Params, fn func(user string, op *crdt.Op)) error {
	rows, err := r.stmt(`SELECT q, hash, line, (SELECT user FROM crdt_actors a WHERE a.id = actor) FROM crdt_ops WHERE doc = {:doc} AND `+condition, params).Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var flags int64
		var hash, line []byte
		var user string
		if err := rows.Scan(&flags, &hash, &line, &user); err != nil {
			return err
		}
		op, err := parseStored(flags, hash, line)
		if err != nil {
			return err
		}
		fn(user, &op)
	}
	return rows.Err()
}

// repeats returns the names under which the log holds acts with their values, sorted. It reads
// the log once, however many acts there are.
func (r *round) repeats(d *document, acts erasedActs) (dots []string, err error) {
	held := d.state.Quarantined()
	roots, err := json.Marshal(slices.Collect(maps.Keys(acts)))
	if err != nil {
		return nil, fmt.Errorf("name acts: %w", err)
	}
	// An original by the beginning of its hash; what was issued again has an origin.
	condition := `q & 32 = 0 AND lower(hex(substr(hash, 1, 16))) IN (SELECT value FROM json_each({:roots}))`
	if d.state.Claimed() || len(held) > 0 {
		condition = `q & 32 = 0 AND (lower(hex(substr(hash, 1, 16))) IN (SELECT value FROM json_each({:roots})) OR instr(line, CAST('"o":"' AS BLOB)) > 0)`
	}
	err = r.eachStored(condition, dbx.Params{"doc": d.id, "roots": string(roots)}, func(user string, op *crdt.Op) {
		_, quarantined := slices.BinarySearchFunc(held, op.Dot, crdt.Dot.Compare)
		if acts.has(user, op) && r.s.stays(op, quarantined) == "" {
			dots = append(dots, op.Dot.String())
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find other names: %w", err)
	}
	slices.Sort(dots)
	return dots, nil
}

// eraseRepeats erases, after an import, what the log holds of erased acts under other names: a
// file can bring a redaction and not know all of them. The server does it in nobody's name.
// Under legal hold they stay.
func (b *Batch) eraseRepeats(session string) error {
	d, _, err := b.open(session)
	if err != nil || d.id == 0 {
		return err
	}
	acts, err := b.r.erasedActs(d)
	if err != nil || len(acts) == 0 {
		return err
	}
	dots, err := b.r.repeats(d, acts)
	if err != nil || len(dots) == 0 {
		return err
	}
	if err := checkHold(b.r.stmt, d.session); errors.Is(err, ErrLegalHold) {
		return nil
	} else if err != nil {
		return err
	}
	defer audit.Attribute(b.r.tx, audit.Actor{Role: audit.SystemRole})()
	_, err = b.redact(RedactRequest{SessionID: d.session, Reason: "erased under another name"}, dots)
	return err
}
