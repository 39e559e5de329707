package api

import (
	"encoding/json"
	"fmt"
	"reflect"

	"firemode/audit"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/pocketbase/core"
)

// A reply is what an act answers.
type reply[T any] struct {
	status  int
	etag    string
	body    T
	private bool // body shows sealed fields
}

// output is the answer of a mutation: fresh, or stored from an earlier act.
type output[T any] struct {
	Status   int
	ETag     string  `header:"ETag"`
	Replayed string  `header:"Idempotent-Replayed" doc:"true when this is the stored answer of an earlier request"`
	Body     body[T] `contentType:"application/json"`
}

// body is a T in its encoded form: what is stored for repeats is byte for byte
// what was sent.
type body[T any] struct{ raw json.RawMessage }

// MarshalJSON and Schema make a body look like its T.
func (b body[T]) MarshalJSON() ([]byte, error) {
	if b.raw == nil {
		return []byte("null"), nil
	}
	return b.raw, nil
}

// Schema implements huma.SchemaProvider.
func (body[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// answered turns a stored answer into an output.
func answered[T any](a *stored, replayed bool) *output[T] {
	out := &output[T]{Status: a.Status, ETag: a.ETag, Body: body[T]{raw: a.Body}}
	if replayed {
		out.Replayed = "true"
	}
	return out
}

// encode turns a reply into the form in which it is sent and stored.
func (r *reply[T]) encode() (*stored, error) {
	raw, err := encodeJSON(r.body)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return &stored{Status: r.status, ETag: r.etag, Body: raw, private: r.private}, nil
}

// mutate runs one act on records: idempotency, attribution and effect in one
// transaction. act works on the call it is given, whose app is the transaction.
func mutate[T any](c *call, key string, act func(c *call) (*reply[T], error)) (*output[T], error) {
	return mutateAfter(c, key, func() error { return nil }, act)
}

// mutateAfter is mutate with something slow to do first, which no writer shall
// wait for and a repeat shall not do again.
func mutateAfter[T any](c *call, key string, prepare func() error, act func(c *call) (*reply[T], error)) (*output[T], error) {
	t, earlier, err := c.begin(key, c.body)
	if err != nil {
		return nil, err
	}
	if earlier != nil {
		return answered[T](earlier, true), nil
	}
	defer t.done()
	if err := prepare(); err != nil {
		return nil, err
	}
	var answer *stored
	err = c.app.RunInTransaction(func(tx core.App) (err error) {
		answer, err = complete(t, tx, func() (*reply[T], error) { return act(c.within(tx)) })
		return err
	})
	if err != nil {
		return nil, err
	}
	return answered[T](answer, false), nil
}

// mergeAct is mutate for an act on a document, in a transaction of the merge service.
func mergeAct[T any](c *call, key string, act func(b *merge.Batch) (*reply[T], error)) (*output[T], error) {
	t, earlier, err := c.begin(key, c.body)
	if err != nil {
		return nil, err
	}
	if earlier != nil {
		return answered[T](earlier, true), nil
	}
	defer t.done()
	var answer *stored
	err = c.Merge.Do(c.ctx(), func(b *merge.Batch) (err error) {
		answer, err = complete(t, b.App(), func() (*reply[T], error) { return act(b) })
		return err
	})
	if err != nil {
		return nil, err
	}
	return answered[T](answer, false), nil
}

// complete runs an act on the caller's account and keeps its answer for repeats, both in
// the transaction tx.
func complete[T any](t *ticket, tx core.App, act func() (*reply[T], error)) (*stored, error) {
	defer audit.Attribute(tx, t.c.actor())()
	r, err := act()
	if err != nil {
		return nil, err
	}
	answer, err := r.encode()
	if err != nil {
		return nil, err
	}
	return answer, t.keep(tx, answer)
}
