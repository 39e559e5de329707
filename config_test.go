package main

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"firemode/sealed"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestLoadConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := loadConfig(env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP != "127.0.0.1:5000" || c.Diag != "127.0.0.1:6060" || c.DataDir != "pb_data" || !c.Development() || c.JWTLife != 15*time.Minute {
		t.Errorf("defaults: got %+v", c)
	}
	if c.Argon2.Time != 3 || c.Argon2.MemoryKiB != 65536 || c.Argon2.Parallelism != 2 || c.Argon2.MaxMemoryKiB != 262144 {
		t.Errorf("Argon2 defaults: got %+v", c.Argon2)
	}
}

// All mistakes come together, each with the name of its variable and none with a secret.
func TestLoadConfigReportsEveryMistake(t *testing.T) {
	t.Parallel()
	bad := map[string]string{
		"JWT_SECRET": "short-secret", "JWT_EXPIRES_IN_SECONDS": "5", "FERNET_KEY": "not-a-fernet-key",
		"ARGON2_TIME_COST": "0", "ARGON2_MEMORY_COST": "x", "ARGON2_PARALLELISM": "-1", "ARGON2_MAX_MEMORY": "1",
		"FIREMODE_ENV": "staging", "FIREMODE_HTTP": "5000", "FIREMODE_DIAG": "0.0.0.0:6060", "FIREMODE_ALLOW_SCHEMA_EDIT": "perhaps",
	}
	_, err := loadConfig(env(bad))
	if err == nil {
		t.Fatal("got no error")
	}
	for name := range bad {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the message does not name %s:\n%v", name, err)
		}
	}
	for _, secret := range []string{"short-secret", "not-a-fernet-key"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the message repeats a secret: %v", err)
		}
	}
}

func TestLoadConfigRefusesBadCombinations(t *testing.T) {
	t.Parallel()
	key := sealed.Generate()
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"production without secrets": {map[string]string{"FIREMODE_ENV": "production"}, "JWT_SECRET: is required"},
		"production without a key":   {map[string]string{"FIREMODE_ENV": "production", "JWT_SECRET": strings.Repeat("x", 32)}, "FERNET_KEY: is required"},
		"two root secrets":           {map[string]string{"JWT_SECRET": strings.Repeat("x", 32), "JWT_SECRET_KEY": strings.Repeat("y", 32)}, "differs from JWT_SECRET_KEY"},
		"one hash above the bound":   {map[string]string{"ARGON2_MEMORY_COST": "131072", "ARGON2_MAX_MEMORY": "65536"}, "ARGON2_MAX_MEMORY"},
		"less than 8 KiB per lane":   {map[string]string{"ARGON2_MEMORY_COST": "8", "ARGON2_PARALLELISM": "2"}, "8 KiB per lane"},
		"schema edits in production": {map[string]string{"FIREMODE_ENV": "production", "JWT_SECRET": strings.Repeat("x", 32), "FERNET_KEY": key, "FIREMODE_ALLOW_SCHEMA_EDIT": "true"}, "FIREMODE_ALLOW_SCHEMA_EDIT"},
	} {
		if _, err := loadConfig(env(c.env)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if c, err := loadConfig(env(map[string]string{"JWT_SECRET_KEY": strings.Repeat("x", 32)})); err != nil || len(c.JWTSecret) != 32 {
		t.Errorf("the older name of the secret: got %d bytes, %v", len(c.JWTSecret), err)
	}
}

func TestConfigLogsNoSecret(t *testing.T) {
	t.Parallel()
	key, secret := sealed.Generate(), strings.Repeat("very-secret!", 4)
	c, err := loadConfig(env(map[string]string{"JWT_SECRET": secret, "FERNET_KEY": key, "DATABASE_URL": "postgres://u:pgpass@localhost/x"}))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("start", "config", c)
	for _, s := range []string{key, secret, "pgpass"} {
		if strings.Contains(b.String(), s) {
			t.Errorf("the log line shows a secret: %s", b.String())
		}
	}
}

func TestDevelopmentSecretsAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := Config{Env: development, DataDir: dir}, Config{Env: development, DataDir: dir}
	made, err := first.completeSecrets()
	if err != nil || !made {
		t.Fatalf("first start: made %v, %v", made, err)
	}
	if made, err = second.completeSecrets(); err != nil || made {
		t.Fatalf("second start: made %v, %v", made, err)
	}
	if !bytes.Equal(first.JWTSecret, second.JWTSecret) || len(first.JWTSecret) < jwtSecretMinBytes {
		t.Error("the second start has another root secret")
	}
	info, err := os.Stat(dir + "/" + generatedSecretsFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v (%v), want 0600", info.Mode(), err)
	}
}

// The README's table and .env.example name each variable with its default, and no other.
func TestVariablesAreDocumented(t *testing.T) {
	t.Parallel()
	readme := documentedIn(t, "README.md", regexp.MustCompile("(?m)^\\| `([A-Z0-9_]+)` \\| (?:`([^`]*)`|–) \\|"))
	example := documentedIn(t, ".env.example", regexp.MustCompile(`(?m)^#? ?([A-Z][A-Z0-9_]+)=(\S*)$`))
	for _, v := range variables {
		if got, ok := readme[v.name]; !ok || got != v.fallback {
			t.Errorf("README.md: %s has default %q (named: %v), want %q", v.name, got, ok, v.fallback)
		}
		if got, ok := example[v.name]; !ok || got != v.fallback && v.fallback != "" {
			t.Errorf(".env.example: %s has value %q (named: %v), want %q", v.name, got, ok, v.fallback)
		}
		delete(readme, v.name)
		delete(example, v.name)
	}
	if len(readme) > 0 || len(example) > 0 {
		t.Errorf("documented but not read: README.md %v, .env.example %v", readme, example)
	}
}

func documentedIn(t *testing.T, path string, line *regexp.Regexp) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
}
