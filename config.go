package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"firemode/hooks"
	"firemode/pgsync"
	"firemode/sealed"
)

// Environments.
const (
	development = "development"
	production  = "production"
)

// jwtSecretMinBytes: HMAC-SHA256 gains nothing from a longer key and is weaker
// with a shorter one (RFC 7518, section 3.2).
const jwtSecretMinBytes = 32

// A variable is one setting of the environment. The README's table and
// .env.example are held against this list by a test.
type variable struct {
	name, fallback, meaning string
}

// variables is every setting that FireMode reads, in the order of the README.
var variables = []variable{
	{"JWT_SECRET", "", "root secret of all tokens, at least 32 bytes; also read as JWT_SECRET_KEY"},
	{"JWT_EXPIRES_IN_SECONDS", "900", "life of an auth token, 10 to 94670856"},
	{"FERNET_KEY", "", "comma-separated Fernet keys: the first seals, all open; make one with firemode keys generate"},
	{"ARGON2_TIME_COST", strconv.Itoa(hooks.HashTimeDefault), "Argon2id passes"},
	{"ARGON2_MEMORY_COST", strconv.Itoa(hooks.HashMemoryDefaultKiB), "Argon2id memory per hash, KiB"},
	{"ARGON2_PARALLELISM", strconv.Itoa(hooks.HashParallelismDefault), "Argon2id lanes"},
	{"ARGON2_MAX_MEMORY", strconv.Itoa(hooks.HashMaxMemoryDefaultKiB), "Argon2id memory of all hashes at once, KiB"},
	{"DATABASE_URL", "", "PostgreSQL of the mirror; empty turns the mirror off"},
	{"FIREMODE_MIRROR_LOG_MAX", "4096", "MiB that changes may take in SQLite while PostgreSQL is away, never more than a quarter of the free disk; above it, tables are compared anew later"},
	{"FIREMODE_ENV", development, "development or production; production refuses to start without JWT_SECRET and FERNET_KEY"},
	{"FIREMODE_HTTP", "127.0.0.1:5000", "address of the API, the admin UI and /docs"},
	{"FIREMODE_DIAG", "127.0.0.1:6060", "loopback address of /metrics, /memory and /debug/pprof/"},
	{"FIREMODE_DATA", "pb_data", "data directory"},
	{"FIREMODE_WRITES_PER_SECOND", "50", "writes one account may send for long, ten seconds' worth at once, ten times as many per address; 0 is no limit"},
	{"FIREMODE_ALLOW_SCHEMA_EDIT", "false", "development only: let the admin UI change collections and run SQL"},
}

// Config is what the environment says. Secrets may be empty in development
// until [Config.completeSecrets] has run.
type Config struct {
	Env             string
	HTTP, Diag      string // host:port
	DataDir         string
	DatabaseURL     string // "" is no mirror
	MirrorLogMax    int64  // bytes
	JWTSecret       []byte
	JWTLife         time.Duration
	FernetKeys      *sealed.Keyring // nil until a key is known
	Argon2          hooks.HasherConfig
	WritesPerSecond int64 // of one account; 0 is no limit
	AllowSchemaEdit bool
}

// Development says whether conveniences that have no place in production are on.
func (c Config) Development() bool { return c.Env == development }

// LogValue shows no secret and no connection string.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("env", c.Env), slog.String("http", c.HTTP), slog.String("diag", c.Diag),
		slog.String("data", c.DataDir), slog.Bool("mirror", c.DatabaseURL != ""))
}

// A reader reads variables and collects every mistake.
type reader struct {
	getenv func(string) string
	errs   []error
}

func (r *reader) fail(name, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
}

func (r *reader) text(name string) string {
	if v := r.getenv(name); v != "" {
		return v
	}
	for _, known := range variables {
		if known.name == name {
			return known.fallback
		}
	}
	panic("firemode: internal error: undeclared variable " + name)
}

func (r *reader) integer(name string, min, max int64) int64 {
	n, err := strconv.ParseInt(r.text(name), 10, 64)
	if err != nil || n < min || n > max {
		r.fail(name, "must be a whole number from %d to %d, got %q", min, max, r.text(name))
	}
	return n
}

func (r *reader) boolean(name string) bool {
	b, err := strconv.ParseBool(r.text(name))
	if err != nil {
		r.fail(name, "must be true or false, got %q", r.text(name))
	}
	return b
}

func (r *reader) address(name string) string {
	v := r.text(name)
	if _, port, err := net.SplitHostPort(v); err != nil {
		r.fail(name, "must be host:port, got %q", v)
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		r.fail(name, "port must be 0 to 65535, got %q", port)
	}
	return v
}

// loadConfig reads every variable through getenv and reports all mistakes
// together, none of which repeats a secret.
func loadConfig(getenv func(string) string) (Config, error) {
	r := &reader{getenv: getenv}
	c := Config{
		Env: r.text("FIREMODE_ENV"), HTTP: r.address("FIREMODE_HTTP"), Diag: r.address("FIREMODE_DIAG"),
		DataDir: r.text("FIREMODE_DATA"), DatabaseURL: r.text("DATABASE_URL"),
		AllowSchemaEdit: r.boolean("FIREMODE_ALLOW_SCHEMA_EDIT"), WritesPerSecond: r.integer("FIREMODE_WRITES_PER_SECOND", 0, 1_000_000),
		// The bounds are those of PocketBase's own token settings.
		MirrorLogMax: r.integer("FIREMODE_MIRROR_LOG_MAX", 1, 1<<20) << 20,
		JWTLife:      time.Duration(r.integer("JWT_EXPIRES_IN_SECONDS", 10, 94670856)) * time.Second,
		Argon2: hooks.HasherConfig{
			Time:         uint32(r.integer("ARGON2_TIME_COST", 1, 100)),
			MemoryKiB:    uint32(r.integer("ARGON2_MEMORY_COST", 8, 4<<20)),
			Parallelism:  uint8(r.integer("ARGON2_PARALLELISM", 1, 255)),
			MaxMemoryKiB: r.integer("ARGON2_MAX_MEMORY", 8, 64<<20),
		},
	}
	if c.Env != development && c.Env != production {
		r.fail("FIREMODE_ENV", "must be %s or %s, got %q", development, production, c.Env)
	}
	if int64(c.Argon2.MemoryKiB) > c.Argon2.MaxMemoryKiB {
		r.fail("ARGON2_MAX_MEMORY", "must be at least ARGON2_MEMORY_COST (%d), got %d", c.Argon2.MemoryKiB, c.Argon2.MaxMemoryKiB)
	}
	if c.Argon2.MemoryKiB < 8*uint32(c.Argon2.Parallelism) {
		r.fail("ARGON2_MEMORY_COST", "must be at least 8 KiB per lane of ARGON2_PARALLELISM (RFC 9106, section 3.1)")
	}
	if err := checkLoopback(c.Diag); err != nil {
		r.fail("FIREMODE_DIAG", "%w", err)
	}
	if c.AllowSchemaEdit && c.Env == production {
		r.fail("FIREMODE_ALLOW_SCHEMA_EDIT", "is for development; in production the schema changes by migrations")
	}
	if c.DatabaseURL != "" {
		if err := pgsync.ValidateDSN(c.DatabaseURL); err != nil {
			r.fail("DATABASE_URL", "%w", err)
		}
	}
	r.secrets(&c)
	return c, errors.Join(r.errs...)
}

// secrets reads the two secrets. Both names of the root secret must agree when both are set.
func (r *reader) secrets(c *Config) {
	secret, older := r.getenv("JWT_SECRET"), r.getenv("JWT_SECRET_KEY")
	switch {
	case secret == "":
		secret = older
	case older != "" && older != secret:
		r.fail("JWT_SECRET", "differs from JWT_SECRET_KEY; set one of them")
	}
	switch {
	case secret == "" && c.Env == production:
		r.fail("JWT_SECRET", "is required in production")
	case secret != "" && len(secret) < jwtSecretMinBytes:
		r.fail("JWT_SECRET", "must have at least %d bytes, has %d", jwtSecretMinBytes, len(secret))
	}
	c.JWTSecret = []byte(secret)

	keys := r.getenv("FERNET_KEY")
	if keys == "" {
		if c.Env == production {
			r.fail("FERNET_KEY", "is required in production; make one with: firemode keys generate")
		}
		return
	}
	ring, err := sealed.Parse(keys)
	if err != nil {
		r.fail("FERNET_KEY", "%w", err)
		return
	}
	c.FernetKeys = ring
}

// checkLoopback refuses an address that other machines can reach. One that is
// no address at all is somebody else's mistake to report.
func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("must be a loopback address, since profiles and metrics need no login, got %q", addr)
	}
	return nil
}
