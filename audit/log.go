package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// Limits of the texts that a caller of the API controls.
const (
	userAgentMaxBytes = 512
	requestIDMaxBytes = 64
)

// Config is what entries of one process have in common.
type Config struct {
	Now     func() time.Time // default time.Now
	Version string           // of the application
	System  Actor            // who acts when nobody was attributed; default role "system"
}

const configKey = "firemode.audit"

// Install sets the configuration of app. Without it the defaults hold.
func Install(app core.App, c Config) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.System.Role == "" {
		c.System.Role = SystemRole
	}
	app.Store().Set(configKey, c)
}

func configOf(app core.App) Config {
	if c, ok := app.Store().Get(configKey).(Config); ok {
		return c
	}
	return Config{Now: time.Now, System: Actor{Role: SystemRole}}
}

// An Entry is one mutation. Old and New are marshalled to JSON; nil means that
// there was, or is, no record. They MUST hold no secret and no plain personal data.
type Entry struct {
	Action       string // create, update, delete, login, merge, …
	ResourceType string // collection name
	ResourceID   string
	Old, New     any
}

// Append writes e on the account of the transaction's actor and returns the
// entry's id. tx MUST be a transaction: the number of the entry is the highest
// one plus one, which is right only while no other writer can run.
func Append(tx core.App, e Entry) (id string, err error) {
	return AppendWith(func(sql string, params dbx.Params) *dbx.Query {
		return tx.NonconcurrentDB().NewQuery(sql).Bind(params)
	}, tx, e)
}

// Statements makes a query of the transaction with its parameters bound. One that keeps
// its queries prepared halves the cost of an entry.
type Statements func(sql string, params dbx.Params) *dbx.Query

// AppendWith is Append for a caller that writes many entries in one transaction, whose
// statements it runs.
func AppendWith(stmt Statements, tx core.App, e Entry) (id string, err error) {
	if tx.TxInfo() == nil {
		return "", fmt.Errorf("append audit entry: %w", ErrNoTransaction)
	}
	r, err := newRow(stmt, tx, e)
	if err != nil {
		return "", fmt.Errorf("append audit entry: %w", err)
	}
	if _, err := stmt(sqlInsert, r.params()).Execute(); err != nil {
		return "", fmt.Errorf("append audit entry: %w", err)
	}
	return r.ID, nil
}

// sqlInsert is built from the same names as the parameters, so that no column is forgotten.
var sqlInsert = func() string {
	columns := slices.Sorted(maps.Keys(row{}.params()))
	return "INSERT INTO " + collections.AuditLog + " (" + strings.Join(columns, ", ") + ") VALUES ({:" + strings.Join(columns, "}, {:") + "})"
}()

func newRow(stmt Statements, tx core.App, e Entry) (row, error) {
	c, a := configOf(tx), ActorOf(tx)
	r := row{
		ID: uuid.Must(uuid.NewV7()).String(), UserID: a.ID, UserRole: a.Role,
		Action: e.Action, ResourceType: e.ResourceType, ResourceID: e.ResourceID,
		IPAddress: a.IP, UserAgent: clean(a.UserAgent, userAgentMaxBytes),
		RequestID: clean(a.RequestID, requestIDMaxBytes), AppVersion: c.Version,
		CreatedAt: c.Now().UTC().Format(types.DefaultDateLayout),
	}
	var err error
	if r.OldValues, err = canonical(e.Old); err != nil {
		return row{}, err
	}
	if r.NewValues, err = canonical(e.New); err != nil {
		return row{}, err
	}
	if err := stmt("SELECT coalesce(max(seq), 0) + 1 FROM audit_log", nil).Row(&r.Seq); err != nil {
		return row{}, fmt.Errorf("read the last number: %w", err)
	}
	r.LeafHash = r.hash()
	return r, nil
}

// row is one entry as it is stored; the db tags name its columns.
type row struct {
	ID           string `db:"id"`
	Seq          int64  `db:"seq"`
	UserID       string `db:"user_id"`
	UserRole     string `db:"user_role"`
	Action       string `db:"action"`
	ResourceType string `db:"resource_type"`
	ResourceID   string `db:"resource_id"`
	OldValues    string `db:"old_values"` // canonical JSON
	NewValues    string `db:"new_values"` // canonical JSON
	IPAddress    string `db:"ip_address"`
	UserAgent    string `db:"user_agent"`
	RequestID    string `db:"request_id"`
	AppVersion   string `db:"app_version"`
	CreatedAt    string `db:"created_at"`
	LeafHash     string `db:"leaf_hash"` // not part of the leaf
}

func (r row) params() dbx.Params {
	return dbx.Params{
		collections.FieldID: r.ID, collections.FieldSeq: r.Seq,
		collections.FieldUserID: r.UserID, collections.FieldUserRole: r.UserRole,
		collections.FieldAction: r.Action, collections.FieldResourceType: r.ResourceType, collections.FieldResourceID: r.ResourceID,
		collections.FieldOldValues: r.OldValues, collections.FieldNewValues: r.NewValues,
		collections.FieldIPAddress: r.IPAddress, collections.FieldUserAgent: r.UserAgent,
		collections.FieldRequestID: r.RequestID, collections.FieldAppVersion: r.AppVersion,
		collections.FieldCreatedAt: r.CreatedAt, collections.FieldLeafHash: r.LeafHash,
	}
}

// leafFormat is the first member of every leaf, so that a later form of the
// leaf can never be read as an earlier one.
const leafFormat = "firemode-audit-1"

// hash is the RFC 6962 leaf hash, SHA-256(0x00 || leaf), of the entry's
// canonical form: a JSON array of the format name and the columns in the order
// of row, old and new values as the text that is stored.
func (r row) hash() string {
	leaf, err := marshal([]any{
		leafFormat, r.ID, r.Seq, r.UserID, r.UserRole, r.Action, r.ResourceType, r.ResourceID,
		r.OldValues, r.NewValues, r.IPAddress, r.UserAgent, r.RequestID, r.AppVersion, r.CreatedAt,
	})
	if err != nil {
		panic("audit: internal error: " + err.Error()) // strings and an integer always marshal
	}
	sum := sha256.Sum256(append([]byte{0}, leaf...))
	return hex.EncodeToString(sum[:])
}

// canonical is v as JSON with sorted keys and no HTML escapes. Numbers keep
// their digits.
func canonical(v any) (string, error) {
	raw, err := marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode values: %w", err)
	}
	if isSorted(v) {
		return string(raw), nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var sorted any
	if err := d.Decode(&sorted); err != nil {
		return "", fmt.Errorf("encode values: %w", err)
	}
	raw, err = marshal(sorted) // a decoded object is a map, and maps marshal with sorted keys
	return string(raw), err
}

// isSorted reports whether v has no member but plain ones in one map, which is marshalled
// with its keys in order.
func isSorted(v any) bool {
	members, ok := v.(map[string]any)
	if !ok {
		return v == nil
	}
	for _, m := range members {
		switch m.(type) {
		case nil, bool, int, int64, uint64, string:
		default:
			return false
		}
	}
	return true
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// clean makes a text from a request fit to store: valid UTF-8, no NUL (which
// PostgreSQL refuses), at most max bytes.
func clean(s string, max int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "")
	}
	return s
}
