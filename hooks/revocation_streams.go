package hooks

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/subscriptions"
)

// streamTokenKey is where a realtime client keeps the TokenInfo it subscribed
// with. PocketBase checks a token when a client subscribes and never again, for
// up to half an hour.
const streamTokenKey = "firemode.token"

// streamAccountsMax bounds the accounts asked for in one query.
const streamAccountsMax = 500

var errStreamEnded = errors.New("the token of the stream is no longer good")

func registerStreams(app core.App, t *Tokens) {
	app.OnRealtimeSubscribeRequest().Bind(&hook.Handler[*core.RealtimeSubscribeRequestEvent]{
		Id: "firemode.streams.subscribe",
		Func: func(e *core.RealtimeSubscribeRequestEvent) error {
			if info, ok := TokenOf(e.RequestEvent); ok {
				e.Client.Set(streamTokenKey, info)
			}
			return e.Next()
		},
	})
	app.OnRealtimeMessageSend().Bind(&hook.Handler[*core.RealtimeMessageEvent]{
		Id: "firemode.streams.send",
		Func: func(e *core.RealtimeMessageEvent) error {
			info, ok := streamToken(e.Client)
			if !ok {
				return e.Next()
			}
			// PocketBase takes the account off the client when its token key changes.
			if e.Client.Get(apis.RealtimeClientAuthKey) == nil || t.CheckStream(e.App, info) != nil {
				return errStreamEnded // closes the connection
			}
			return e.Next()
		},
	})
}

func streamToken(c subscriptions.Client) (TokenInfo, bool) {
	info, ok := c.Get(streamTokenKey).(TokenInfo)
	return info, ok
}

// CheckStream returns an error when a token that authenticated a long-lived
// stream has expired or was revoked since. It reads memory only, so it may be
// called for every message.
func (t *Tokens) CheckStream(app core.App, info TokenInfo) error {
	if !t.now().Before(info.ExpiresAt) {
		return errTokenExpired
	}
	return t.checkRevoked(app, info)
}

// cutStreams closes the realtime connections whose token matches.
func cutStreams(app core.App, match func(TokenInfo) bool) {
	broker := app.SubscriptionsBroker()
	for id, client := range broker.Clients() {
		if info, ok := streamToken(client); ok && match(info) {
			broker.Unregister(id) // closes its channel, on which the handler waits
		}
	}
}

// judgeStreams cuts every realtime connection whose token has expired, is
// revoked, or belongs to an account that another process changed or removed.
func (t *Tokens) judgeStreams(app core.App) error {
	broker := app.SubscriptionsBroker()
	tokens := map[string]TokenInfo{}  // client -> token
	accounts := map[string][]string{} // collection -> ids
	for id, client := range broker.Clients() {
		if info, ok := streamToken(client); ok {
			tokens[id] = info
			accounts[info.Collection] = append(accounts[info.Collection], info.UserID)
		}
	}
	records := map[string]*core.Record{}
	for collection, ids := range accounts {
		for chunk := range slices.Chunk(ids, streamAccountsMax) {
			found, err := app.FindRecordsByIds(collection, chunk)
			if err != nil {
				return fmt.Errorf("read the accounts of streams: %w", err)
			}
			for _, r := range found {
				records[r.Id] = r
			}
		}
	}
	for id, info := range tokens {
		record := records[info.UserID]
		if record == nil || t.checkState(record, info) != nil || t.CheckStream(app, info) != nil || outdatedClient(broker, id, record) {
			broker.Unregister(id)
		}
	}
	return nil
}

// outdatedClient says whether the account of a client got another token key
// since the client subscribed.
func outdatedClient(broker *subscriptions.Broker, id string, record *core.Record) bool {
	client, err := broker.ClientById(id)
	if err != nil {
		return false // gone by itself
	}
	auth, ok := client.Get(apis.RealtimeClientAuthKey).(*core.Record)
	return ok && auth.TokenKey() != record.TokenKey()
}
