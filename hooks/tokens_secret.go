package hooks

import (
	"crypto/hkdf"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

const (
	// secretMinBytes is the output length of the HMAC that tokens are signed
	// with (RFC 7518, section 3.2 asks for as much).
	secretMinBytes = 32
	// derivedBytes give 64 characters; PocketBase takes 30 to 255.
	derivedBytes     = 48
	fingerprintBytes = 16
)

// paramSecretPrefix and a collection's id name the row of _fm_params that holds
// the fingerprint of the root its secrets were derived from.
const paramSecretPrefix = "token secret fingerprint "

// ApplySecret derives the token secrets of every auth collection from
// TokensConfig.Secret and sets their lifetime. Run it after the migrations.
//
// Secrets are rewritten only when the root changed since they were derived:
// PocketBase sets random ones to invalidate all tokens of a collection, and
// writing the derived ones again at the next start would bring those tokens
// back to life.
func (t *Tokens) ApplySecret(app core.App) error {
	if len(t.secret) > 0 && len(t.secret) < secretMinBytes {
		return fmt.Errorf("apply token secret: it has %d bytes, at least %d are needed", len(t.secret), secretMinBytes)
	}
	return app.RunInTransaction(func(tx core.App) error {
		all, err := tx.FindAllCollections(core.CollectionTypeAuth)
		if err != nil {
			return fmt.Errorf("find auth collections: %w", err)
		}
		for _, c := range all {
			if err := t.applySecretTo(tx, c); err != nil {
				return fmt.Errorf("apply token secret to %s: %w", c.Name, err)
			}
		}
		return nil
	})
}

func (t *Tokens) applySecretTo(tx core.App, c *core.Collection) error {
	changed := false
	if seconds := int64(t.ttl / time.Second); seconds > 0 && c.AuthToken.Duration != seconds {
		c.AuthToken.Duration, changed = seconds, true
	}
	if len(t.secret) > 0 {
		fingerprint, err := t.fingerprint(c)
		if err != nil {
			return err
		}
		stored, err := readParam(tx, paramSecretPrefix+c.Id)
		if err != nil {
			return err
		}
		if stored != fingerprint {
			if err := t.derive(c); err != nil {
				return err
			}
			if err := writeParam(tx, paramSecretPrefix+c.Id, fingerprint); err != nil {
				return err
			}
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return tx.Save(c)
}

// derive sets one secret per purpose, so that a token of one kind or collection
// is never valid as another.
func (t *Tokens) derive(c *core.Collection) error {
	for purpose, token := range map[string]*core.TokenConfig{
		"auth": &c.AuthToken, "file": &c.FileToken, "password reset": &c.PasswordResetToken,
		"email change": &c.EmailChangeToken, "verification": &c.VerificationToken,
	} {
		key, err := hkdf.Key(sha256.New, t.secret, nil, "firemode token v1 "+purpose+" "+c.Id, derivedBytes)
		if err != nil {
			return fmt.Errorf("derive %s secret: %w", purpose, err)
		}
		token.Secret = base64.RawURLEncoding.EncodeToString(key)
	}
	return nil
}

// fingerprint names the root without giving anything of it away.
func (t *Tokens) fingerprint(c *core.Collection) (string, error) {
	key, err := hkdf.Key(sha256.New, t.secret, nil, "firemode token fingerprint v1 "+c.Id, fingerprintBytes)
	if err != nil {
		return "", fmt.Errorf("derive fingerprint: %w", err)
	}
	return hex.EncodeToString(key), nil
}

// readParam returns "" for a parameter that was never written.
func readParam(tx core.App, key string) (string, error) {
	var value string
	err := tx.DB().Select("v").From(collections.TableParams).Where(dbx.HashExp{"k": key}).Row(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read parameter %q: %w", key, err)
	}
	return value, nil
}

func writeParam(tx core.App, key, value string) error {
	_, err := tx.NonconcurrentDB().NewQuery("INSERT INTO {{" + collections.TableParams + "}} (k, v) VALUES ({:k}, {:v}) ON CONFLICT (k) DO UPDATE SET v = excluded.v").
		Bind(dbx.Params{"k": key, "v": value}).Execute()
	if err != nil {
		return fmt.Errorf("write parameter %q: %w", key, err)
	}
	return nil
}
