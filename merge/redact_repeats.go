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
// the log has with the redaction; and one that arrives later is stored without its value.

// act is what an operation says. A value is its print, erased or not.
type act struct {
	kind crdt.Kind
	path string
	val  string
	n    int64
}

func actOf(op *crdt.Op) act {
	a := act{kind: op.Kind, path: op.Path, n: op.N}
	if op.Val != "" {
		a.val = crdt.Redacted(op.Val)
	}
	return a
}

// erasedActs are acts by the hashes under which an operation may name them as its origin.
type erasedActs map[string]map[act]struct{}

func (e erasedActs) add(op *crdt.Op) {
	said := actOf(op)
	for _, hash := range []string{op.OriginHash(), op.Print()} {
		if e[hash] == nil {
			e[hash] = map[act]struct{}{}
		}
		e[hash][said] = struct{}{}
	}
}

// has reports whether op is one of the acts under whatever name.
func (e erasedActs) has(op *crdt.Op) bool {
	byOrigin, byPrint := e[op.OriginHash()], e[op.Print()]
	if byOrigin == nil && byPrint == nil {
		return false // before anything is hashed that is large
	}
	said := actOf(op)
	_, again := byOrigin[said]
	if !again {
		_, again = byPrint[said]
	}
	return again
}

// erasedActs returns the acts of the document that were erased.
func (r *round) erasedActs(d *document) (erasedActs, error) {
	if d.erased != nil {
		return d.erased, nil
	}
	acts := erasedActs{}
	err := r.eachStored(`SELECT q, hash, line FROM crdt_ops WHERE doc = {:doc} AND q & 32 <> 0`, dbx.Params{"doc": d.id}, acts.add)
	if err != nil {
		return nil, fmt.Errorf("read erased operations: %w", err)
	}
	d.erased = acts
	return acts, nil
}

// comesBack reports whether op is an act that was erased, and so comes without its value. What
// would stay if an officer wanted it erased stays here too.
func (r *round) comesBack(erased erasedActs, op *crdt.Op, flags int64) bool {
	return len(erased) > 0 && erased.has(op) && !crdt.IsRedacted(op.Val) && r.s.stays(op, flags&flagQuarantined != 0) == ""
}

// eachStored calls fn for every row of q, hash and line.
func (r *round) eachStored(sql string, params dbx.Params, fn func(op *crdt.Op)) error {
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
		fn(&op)
	}
	return rows.Err()
}

// repeats returns the other names under which the log holds the acts of named with their
// values, sorted. It reads the log twice, however many are named, and not at all where nobody has
// issued anything again.
func (r *round) repeats(d *document, named []crdt.Op) (dots []string, err error) {
	held := d.state.Quarantined()
	if !d.state.Claimed() && len(held) == 0 {
		return nil, nil // nothing in the log has an origin
	}
	said := map[act]struct{}{}
	for i := range named {
		said[actOf(&named[i])] = struct{}{}
	}
	// First what was issued again; each may have been issued again for another one of them.
	type tie struct {
		hash string
		act
	}
	claims := map[tie][]*crdt.Op{}
	err = r.eachStored(`SELECT q, hash, line FROM crdt_ops WHERE doc = {:doc} AND instr(line, {:origin}) > 0`,
		dbx.Params{"doc": d.id, "origin": []byte(`"o":"`)}, func(op *crdt.Op) {
			a := actOf(op)
			if _, same := said[a]; same && op.Origin != "" {
				for _, hash := range []string{op.OriginHash(), op.Print()} {
					claims[tie{hash, a}] = append(claims[tie{hash, a}], op)
				}
			}
		})
	if err != nil {
		return nil, fmt.Errorf("find what was issued again: %w", err)
	}
	found, taken := erasedActs{}, map[crdt.Dot]struct{}{}
	var tied []*crdt.Op // whose hashes are still to be looked at
	take := func(op *crdt.Op) {
		if _, is := taken[op.Dot]; is {
			return
		}
		taken[op.Dot] = struct{}{}
		found.add(op)
		tied = append(tied, op)
		_, quarantined := slices.BinarySearchFunc(held, op.Dot, crdt.Dot.Compare)
		if !crdt.IsRedacted(op.Val) && r.s.stays(op, quarantined) == "" {
			dots = append(dots, op.Dot.String())
		}
	}
	for i := range named {
		take(&named[i])
	}
	dots = nil // the others only
	for len(tied) > 0 {
		op := tied[len(tied)-1]
		tied = tied[:len(tied)-1]
		for _, hash := range []string{op.OriginHash(), op.Print()} {
			key := tie{hash, actOf(op)}
			for _, other := range claims[key] {
				take(other)
			}
			delete(claims, key)
		}
	}
	// Then the originals, by the beginning of their hashes.
	hashes, err := json.Marshal(slices.Collect(maps.Keys(found)))
	if err != nil {
		return nil, fmt.Errorf("name originals: %w", err)
	}
	err = r.eachStored(`SELECT q, hash, line FROM crdt_ops WHERE doc = {:doc} AND lower(hex(substr(hash, 1, 16))) IN (SELECT value FROM json_each({:hashes}))`,
		dbx.Params{"doc": d.id, "hashes": string(hashes)}, func(op *crdt.Op) {
			if found.has(op) {
				take(op)
			}
		})
	if err != nil {
		return nil, fmt.Errorf("find originals: %w", err)
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
	var named []crdt.Op
	err = b.r.eachStored(`SELECT q, hash, line FROM crdt_ops WHERE doc = {:doc} AND q & 32 <> 0`, dbx.Params{"doc": d.id},
		func(op *crdt.Op) { named = append(named, *op) })
	if err != nil || len(named) == 0 {
		return err
	}
	dots, err := b.r.repeats(d, named)
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
