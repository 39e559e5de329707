package hooks

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// An auditor sees what people did, not who they are. In every answer to an auditor the id of
// an account is replaced by a pseudonym, and in the query of a request the pseudonym by the
// id, so that lists can be filtered by person. Their own id stays.
//
// A pseudonym is an UUID of version 8 (RFC 9562, section 5.8), made of the HMAC-SHA256 of the
// id under a key of the installation: the same person has the same one in every answer, today
// and in years, nobody without the key can tell whose it is, and it fits wherever an id does.
// The key is made once and kept in the database.

// paramPseudonymKey names the row of _fm_params that holds the key, hexadecimal.
const paramPseudonymKey = "pseudonym_key"

// uuids finds whatever has the form of an account's id, or of a pseudonym; ids superusers' ids
// of PocketBase's own form as well.
var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	ids   = regexp.MustCompile(uuids.String() + `|\b[a-z0-9]{15}\b`)
)

// Pseudonyms knows the key. It is safe for many goroutines.
type Pseudonyms struct{ key []byte }

// LoadPseudonyms reads the key of the installation and makes it at first use.
func LoadPseudonyms(app core.App) (*Pseudonyms, error) {
	var fresh [32]byte
	_, _ = rand.Read(fresh[:]) // never fails
	_, err := app.NonconcurrentDB().NewQuery("INSERT INTO " + collections.TableParams + " (k, v) VALUES ({:k}, {:v}) ON CONFLICT (k) DO NOTHING").
		Bind(dbx.Params{"k": paramPseudonymKey, "v": hex.EncodeToString(fresh[:])}).Execute()
	var text string
	if err == nil {
		err = app.NonconcurrentDB().NewQuery("SELECT v FROM " + collections.TableParams + " WHERE k = {:k}").
			Bind(dbx.Params{"k": paramPseudonymKey}).Row(&text)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of pseudonyms: %w", err)
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != sha256.Size {
		return nil, fmt.Errorf("the key of pseudonyms is damaged: %s in %s", paramPseudonymKey, collections.TableParams)
	}
	return &Pseudonyms{key: key}, nil
}

// Of returns the pseudonym of an account.
func (p *Pseudonyms) Of(id string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(id))
	u := uuid.UUID(mac.Sum(nil)[:16])
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return u.String()
}

// hide replaces in text every account's id but own.
func (p *Pseudonyms) hide(ctx context.Context, app core.App, text []byte, own string) ([]byte, error) {
	found := map[string]struct{}{}
	for _, id := range ids.FindAll(text, -1) {
		found[string(id)] = struct{}{}
	}
	delete(found, own)
	if len(found) == 0 {
		return text, nil
	}
	people, err := accounts(ctx, app, found)
	if err != nil || len(people) == 0 {
		return text, err
	}
	return ids.ReplaceAllFunc(text, func(id []byte) []byte {
		if people[string(id)] {
			return []byte(p.Of(string(id)))
		}
		return id
	}), nil
}

// resolve replaces pseudonyms in the query of a request by the ids that they stand for. It
// goes through all accounts, and only when the query names what may be a pseudonym.
func (p *Pseudonyms) resolve(ctx context.Context, app core.App, query string) (string, error) {
	wanted := map[string]string{}
	for _, id := range uuids.FindAllString(query, -1) {
		if id[14] == '8' { // the version
			wanted[id] = id
		}
	}
	if len(wanted) == 0 {
		return query, nil
	}
	people, err := accounts(ctx, app, nil)
	if err != nil {
		return query, err
	}
	for id := range people {
		if name := p.Of(id); wanted[name] != "" {
			wanted[name] = id
		}
	}
	return uuids.ReplaceAllStringFunc(query, func(id string) string {
		if known := wanted[id]; known != "" {
			return known
		}
		return id
	}), nil
}

// accounts returns which of the ids belong to a user or a superuser; nil asks for all.
func accounts(ctx context.Context, app core.App, among map[string]struct{}) (map[string]bool, error) {
	list := make([]string, 0, len(among))
	for id := range among {
		list = append(list, id)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("name accounts: %w", err)
	}
	condition := "WHERE id IN (SELECT value FROM json_each({:ids}))"
	if among == nil {
		condition = ""
	}
	var found []string
	err = app.ConcurrentDB().NewQuery("SELECT id FROM " + collections.Users + " " + condition + " UNION ALL SELECT id FROM " + collections.Superusers + " " + condition).
		WithContext(ctx).Bind(dbx.Params{"ids": string(raw)}).Column(&found)
	if err != nil {
		return nil, fmt.Errorf("find accounts: %w", err)
	}
	people := make(map[string]bool, len(found))
	for _, id := range found {
		people[id] = true
	}
	return people, nil
}
