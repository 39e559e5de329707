package adminui

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/spf13/cast"
)

// registerRealtimeGuard holds the topics of restricted superusers against the
// access table: when they subscribe, and again at each message, because a role
// may change while the connection stays open.
func registerRealtimeGuard(app core.App) {
	app.OnRealtimeSubscribeRequest().Bind(&hook.Handler[*core.RealtimeSubscribeRequestEvent]{
		Id: "firemode.adminui.subscribe", Priority: priorityWithhold,
		Func: func(e *core.RealtimeSubscribeRequestEvent) error {
			if s, ok := restricted(e.Auth); ok {
				for _, topic := range e.Subscriptions {
					if !s.mayHear(e.App, topic) {
						return refuse(e.RequestEvent)
					}
				}
			}
			return e.Next()
		},
	})
	app.OnRealtimeMessageSend().Bind(&hook.Handler[*core.RealtimeMessageEvent]{
		Id: "firemode.adminui.message", Priority: priorityWithhold,
		Func: func(e *core.RealtimeMessageEvent) error {
			auth, _ := e.Client.Get(apis.RealtimeClientAuthKey).(*core.Record)
			if s, ok := restricted(auth); ok && e.Message.Name != connectMessage && !s.mayHear(e.App, e.Message.Name) {
				return nil // not sent, and the connection stays
			}
			return e.Next()
		},
	})
}

// connectMessage is PocketBase's first message on every connection.
const connectMessage = "PB_CONNECT"

// mayHear admits record topics only: "collection", "collection/*" and
// "collection/id", each with options whose expand, filter and sort pass too.
func (s subject) mayHear(app core.App, topic string) bool {
	if topic == "" {
		return true // PocketBase skips it
	}
	name, rest, _ := strings.Cut(topic, "?")
	name, _, _ = strings.Cut(name, "/")
	c, err := app.FindCachedCollectionByNameOrId(name)
	if err != nil || !s.may(c.Name, actionRealtime) {
		return false
	}
	options, err := url.ParseQuery(rest)
	if err != nil {
		return false
	}
	for _, raw := range options["options"] {
		var parsed struct {
			Query map[string]any `json:"query"`
		}
		if err := json.Unmarshal([]byte(raw), &parsed); err != nil {
			return false
		}
		query := url.Values{}
		for k, v := range parsed.Query {
			query.Set(k, cast.ToString(v))
		}
		if !s.mayQuery(app, c, query) {
			return false
		}
	}
	return true
}
