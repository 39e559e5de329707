package merge

import (
	"strings"
	"sync"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/subscriptions"
)

// clientMessagesMax is how far a realtime client may fall behind before it is dropped.
const clientMessagesMax = 256

// topicPrefix and topicSuffix enclose the session id in the name of its feed.
const (
	topicPrefix = "sessions/"
	topicSuffix = "/ops"
)

// Topic returns the realtime topic of a session's operations.
func Topic(sessionID string) string { return topicPrefix + sessionID + topicSuffix }

// Register binds the realtime handlers of the service's feed to app: who may subscribe, and
// a client that keeps messages in order and is dropped when it falls behind.
func Register(app core.App) {
	registerEpoch(app)
	app.OnRealtimeConnectRequest().Bind(&hook.Handler[*core.RealtimeConnectRequestEvent]{
		Id: "firemode.merge.bounded-client", Priority: -100, // others shall see this client
		Func: func(e *core.RealtimeConnectRequestEvent) error {
			c := newBoundedClient(clientMessagesMax)
			c.Set(apis.RealtimeClientIPKey, e.Client.Get(apis.RealtimeClientIPKey))
			e.Client = c
			return e.Next()
		},
	})
	app.OnRealtimeSubscribeRequest().Bind(&hook.Handler[*core.RealtimeSubscribeRequestEvent]{
		Id: "firemode.merge.subscribe",
		Func: func(e *core.RealtimeSubscribeRequestEvent) error {
			for _, s := range e.Subscriptions {
				if topic, _, _ := strings.Cut(s, "?"); strings.HasPrefix(topic, topicPrefix) && !maySubscribe(e, topic) {
					return e.ForbiddenError("You may not subscribe to this topic.", nil)
				}
			}
			return e.Next()
		},
	})
}

// maySubscribe applies the view rule of the session that topic names. An unknown topic or
// session is refused like one of somebody else.
func maySubscribe(e *core.RealtimeSubscribeRequestEvent, topic string) bool {
	id, ok := strings.CutSuffix(strings.TrimPrefix(topic, topicPrefix), topicSuffix)
	if !ok || id == "" || e.Auth == nil {
		return false
	}
	info, err := e.RequestInfo()
	return err == nil && maySee(e.App, info, id)
}

// maySee asks the view rule of a session, or for a superuser whether it exists.
// The document is not needed, and it can be large.
func maySee(app core.App, info *core.RequestInfo, id string) bool {
	c, err := app.FindCachedCollectionByNameOrId(collections.TestSessions)
	if err != nil {
		return false
	}
	if info.HasSuperuserAuth() {
		var one int
		return app.RecordQuery(c).Select("(1)").AndWhere(idIs(id)).Row(&one) == nil
	}
	record := core.NewRecord(c)
	record.Id = id
	allowed, err := app.CanAccessRecord(record, info, c.ViewRule)
	return err == nil && allowed
}

// boundedClient replaces PocketBase's realtime client, which starts a goroutine per message
// without limit and without order. A client that falls clientMessagesMax behind is
// disconnected; it reconnects and fetches what it missed.
type boundedClient struct {
	*subscriptions.DefaultClient
	messages chan subscriptions.Message

	mu     sync.Mutex // guards closed and the closing of messages
	closed bool
}

func newBoundedClient(size int) *boundedClient {
	return &boundedClient{DefaultClient: subscriptions.NewDefaultClient(), messages: make(chan subscriptions.Message, size)}
}

// Channel returns what is to be sent, in order. It is closed when the client is dropped.
func (c *boundedClient) Channel() chan subscriptions.Message { return c.messages }

// Send queues m, or drops the client when the queue is full. It never waits.
func (c *boundedClient) Send(m subscriptions.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	select {
	case c.messages <- m:
	default:
		c.closed = true
		close(c.messages)
	}
}

// Discard drops the client. It may be called again.
func (c *boundedClient) Discard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.messages)
	}
	c.DefaultClient.Discard()
}

// IsDiscarded reports whether the client was dropped.
func (c *boundedClient) IsDiscarded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
