package api

import (
	"context"

	"firemode/audit"
	"firemode/collections"
	"firemode/hooks"

	"github.com/pocketbase/pocketbase/core"
)

// A call is one /v1 request on its way through an operation. It belongs to one
// goroutine.
type call struct {
	*service
	app   core.App // of the running transaction inside an act, of the service outside
	event *core.RequestEvent
	body  []byte // the JSON body as it came; nil for other bodies
	route string // path of the operation, parameters unfilled
	err   error  // an error for the root middleware to write
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callOf returns the call of a request, or nil outside /v1.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// within returns c on the transaction tx.
func (c *call) within(tx core.App) *call {
	inner := *c
	inner.app = tx
	return &inner
}

// ctx is the request's context: it ends when the client goes away or the server
// stops.
func (c *call) ctx() context.Context { return c.event.Request.Context() }

// auth is the record that sent the request; nil for a guest.
func (c *call) auth() *core.Record { return c.event.Auth }

// actor is who the audit log names.
func (c *call) actor() audit.Actor { return hooks.ActorOf(c.event) }

// userID is what relations to users store: empty for a superuser.
func (c *call) userID() string {
	if c.auth().IsSuperuser() {
		return ""
	}
	return c.auth().Id
}

// principal names the caller across collections.
func (c *call) principal() string { return c.auth().Collection().Name + "/" + c.auth().Id }

// info is what access rules see of the request. body holds the members of the
// record under which the caller's values will be stored.
func (c *call) info(body map[string]any) *core.RequestInfo {
	if body == nil {
		body = map[string]any{}
	}
	return &core.RequestInfo{
		Context: core.RequestInfoContextDefault, Method: c.event.Request.Method, Auth: c.auth(),
		Query: map[string]string{}, Headers: map[string]string{}, Body: body,
	}
}

// readOnlySuperuser reports whether the caller is a superuser whose role may
// look at everything and change nothing.
func (c *call) readOnlySuperuser() bool {
	if !c.auth().IsSuperuser() {
		return false
	}
	role := c.auth().GetString(collections.FieldRole)
	return role != "" && role != collections.RoleAdmin
}
