package api

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

const (
	// idempotencyTTL is how long a repeat gets the stored answer: longer than a
	// working day without network.
	idempotencyTTL = 24 * time.Hour
	// inFlightRetry is told to a repeat that overtook its original.
	inFlightRetry = time.Second
)

// keyPattern is what an idempotency key may be: printable ASCII, so that it
// passes through any header unchanged.
var keyPattern = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)

// KeyInput is the header of operations that may be repeated safely.
type KeyInput struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"Names this act: a repeat with the same key and body gets the stored answer for 24 h"`
}

// inFlight holds the keys whose original is still running.
type inFlight struct {
	mu   sync.Mutex
	keys map[string]struct{} // guarded by mu
}

func (f *inFlight) enter(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, running := f.keys[key]; running {
		return false
	}
	if f.keys == nil {
		f.keys = map[string]struct{}{}
	}
	f.keys[key] = struct{}{}
	return true
}

func (f *inFlight) leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
}

// A ticket is one act under an idempotency key, or under none. Its scope is the
// principal, the method, the route and the key; nobody else's key can meet it.
type ticket struct {
	c           *call
	keyHash     string // empty without a key
	requestHash string
	slot        string
}

// A stored answer is what a repeat gets.
type stored struct {
	Status int             `json:"-"`
	ETag   string          `json:"etag,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
	// Sealed is set instead of Body where the answer shows sealed fields: their
	// plain text is in no database.
	Sealed string `json:"sealed,omitempty"`

	private bool // Body shows sealed fields
}

// sealedUnder is what a sealed answer is bound to: it opens in its own row only.
func sealedUnder(id string) string {
	return collections.IdempotencyKeys + "." + collections.FieldResponseData + "." + id
}

// begin opens a ticket. A non-nil answer is the stored one of an earlier act
// with the same key and request; nothing remains to be done then. Otherwise the
// caller runs the act, calls keep in its transaction and done at the end. Only
// acts that committed are kept: one that was refused had no effect and is judged
// anew.
func (c *call) begin(key string, request ...[]byte) (*ticket, *stored, error) {
	t := &ticket{c: c}
	if key == "" {
		return t, nil, nil
	}
	if !keyPattern.MatchString(key) {
		return nil, nil, newProblem(http.StatusUnprocessableEntity, "The idempotency key is not valid.",
			FieldError{Pointer: "/Idempotency-Key", In: "header", Detail: "must be 1 to 255 printable ASCII characters without spaces"})
	}
	t.keyHash = digest([]byte(key))
	// Who was somebody else when they asked first gets no answer made for then.
	rights := []byte(c.auth().GetString(collections.FieldRole) + "/" + c.auth().GetString(collections.FieldOrganisationID))
	t.requestHash = digest(append([][]byte{[]byte(strings.TrimRight(c.event.Request.URL.Path, "/")), rights}, request...)...)
	t.slot = digest([]byte(c.principal()), []byte(c.event.Request.Method), []byte(c.route), []byte(key))
	if !c.inFlight.enter(t.slot) {
		return nil, nil, conflict("The first request with this idempotency key is still running.", nil).again(inFlightRetry)
	}
	answer, err := t.lookUp()
	if err != nil || answer != nil {
		t.done()
		return nil, answer, err
	}
	return t, nil, nil
}

// done lets repeats in. It is called once, after the transaction ended.
func (t *ticket) done() {
	if t.keyHash != "" {
		t.c.inFlight.leave(t.slot)
	}
}

func (t *ticket) scope() dbx.HashExp {
	return dbx.HashExp{
		collections.FieldPrincipal: t.c.principal(), collections.FieldMethod: t.c.event.Request.Method,
		collections.FieldRoute: t.c.route, collections.FieldKeyHash: t.keyHash,
	}
}

func (t *ticket) lookUp() (*stored, error) {
	var row struct {
		ID          string `db:"id"`
		RequestHash string `db:"request_hash"`
		StatusCode  int    `db:"status_code"`
		Response    string `db:"response_data"`
	}
	err := t.c.app.DB().Select(collections.FieldID, collections.FieldRequestHash, collections.FieldStatusCode, collections.FieldResponseData).
		From(collections.IdempotencyKeys).Where(t.scope()).
		AndWhere(dbx.NewExp("[["+collections.FieldExpiresAt+"]] > {:now}", dbx.Params{"now": stamp(t.c.Now())})).
		One(&row)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	case row.RequestHash != t.requestHash:
		return nil, conflict("This idempotency key was used for another request.", nil)
	}
	answer := &stored{Status: row.StatusCode}
	if err := json.Unmarshal([]byte(row.Response), answer); err != nil {
		return nil, fmt.Errorf("read stored answer: %w", err)
	}
	if answer.Sealed != "" {
		plain, err := collections.Unseal(answer.Sealed, sealedUnder(row.ID))
		if err != nil {
			// The keys were changed since. What was done stays done.
			return nil, conflict("This was done already, and its answer can no longer be shown.", nil).because(err)
		}
		answer.Body = json.RawMessage(plain)
	}
	return answer, nil
}

// keep stores the answer in tx, the transaction of the effect.
func (t *ticket) keep(tx core.App, answer *stored) error {
	if t.keyHash == "" {
		return nil
	}
	id, kept := uuid.Must(uuid.NewV7()).String(), *answer
	if kept.private {
		var err error
		if kept.Sealed, err = collections.Seal(string(kept.Body), sealedUnder(id)); err != nil {
			return fmt.Errorf("seal answer: %w", err)
		}
		kept.Body = nil
	}
	raw, err := encodeJSON(kept)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	now, row := t.c.Now(), t.scope()
	maps.Copy(row, dbx.HashExp{
		collections.FieldID: id, collections.FieldRequestHash: t.requestHash, collections.FieldStatusCode: answer.Status,
		collections.FieldResponseData: string(raw), collections.FieldCreatedAt: stamp(now), collections.FieldExpiresAt: stamp(now.Add(idempotencyTTL)),
	})
	done, err := tx.NonconcurrentDB().NewQuery(sqlKeepAnswer).Bind(dbx.Params(row)).Execute()
	if err != nil {
		return fmt.Errorf("store idempotency key: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		// Another process stored one after lookUp.
		return errors.Join(conflict("This idempotency key is in use.", nil).again(inFlightRetry), err)
	}
	return nil
}

// sqlKeepAnswer stores an answer. An expired row under the same key makes room;
// a live one stays, and no row is changed.
const sqlKeepAnswer = `INSERT INTO idempotency_keys
  (id, principal, method, route, key_hash, request_hash, status_code, response_data, created_at, expires_at)
VALUES ({:id}, {:principal}, {:method}, {:route}, {:key_hash}, {:request_hash}, {:status_code}, {:response_data}, {:created_at}, {:expires_at})
ON CONFLICT (principal, method, route, key_hash) DO UPDATE SET
  id = excluded.id, request_hash = excluded.request_hash, status_code = excluded.status_code,
  response_data = excluded.response_data, created_at = excluded.created_at, expires_at = excluded.expires_at
WHERE idempotency_keys.expires_at <= excluded.created_at`

// sweepIdempotencyKeys removes expired keys.
func (s *service) sweepIdempotencyKeys() error {
	_, err := s.app.NonconcurrentDB().Delete(collections.IdempotencyKeys,
		dbx.NewExp("[["+collections.FieldExpiresAt+"]] <= {:now}", dbx.Params{"now": stamp(s.Now())})).Execute()
	return err
}

// digest is the SHA-256 over the parts, each under its length, so that no two
// lists of parts give the same bytes.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// stamp is a time as SQLite stores it.
func stamp(t time.Time) string { return t.UTC().Format(types.DefaultDateLayout) }

// encodeJSON is v as JSON without HTML escapes.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
