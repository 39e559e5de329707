package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"firemode/sealed"

	"github.com/joho/godotenv"
)

// generatedSecretsFile keeps the secrets that development makes for itself.
const generatedSecretsFile = "development-secrets.env"

// completeSecrets gives development the secrets that the environment does not
// name: made once per data directory, mode 0600, and told in one warning. It
// reports whether it made them now. In production it changes nothing, because
// loadConfig has refused to go on without them.
func (c *Config) completeSecrets() (made bool, err error) {
	if len(c.JWTSecret) > 0 && c.FernetKeys != nil {
		return false, nil
	}
	path := filepath.Join(c.DataDir, generatedSecretsFile)
	if made, err = makeSecrets(path); err != nil {
		return false, fmt.Errorf("make development secrets: %w", err)
	}
	values, err := godotenv.Read(path)
	if err != nil {
		return false, fmt.Errorf("read development secrets: %s is damaged; restore it from a backup, since data sealed with its key is lost without it", path)
	}
	if len(c.JWTSecret) == 0 {
		c.JWTSecret = []byte(values["JWT_SECRET"])
	}
	if c.FernetKeys == nil {
		if c.FernetKeys, err = sealed.Parse(values["FERNET_KEY"]); err != nil {
			return false, fmt.Errorf("read development secrets: %w", err)
		}
	}
	return made, nil
}

// makeSecrets writes the file unless it exists. Two processes may race: the
// file appears whole under its name or not at all, and the first one stays.
func makeSecrets(path string) (made bool, err error) {
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), dataDirMode); err != nil {
		return false, err
	}
	secret := make([]byte, jwtSecretMinBytes)
	if _, err := rand.Read(secret); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".secrets-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "JWT_SECRET=%s\nFERNET_KEY=%s\n", base64.RawURLEncoding.EncodeToString(secret), sealed.Generate())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	} else if err != nil {
		return false, nil
	}
	return true, nil
}
