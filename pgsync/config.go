package pgsync

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	leaseDefault   = 15 * time.Second      // a stopped node is replaced after this long
	pollDefault    = 15 * time.Millisecond // of some microseconds each
	retryDefault   = time.Minute           // quarantined rows
	backoffFirst   = 50 * time.Millisecond
	backoffDefault = 30 * time.Second // cap
	holdDefault    = 30 * time.Second
	keepDefault    = 72 * time.Hour // covers a fail-over or point-in-time recovery of the mirror
	timeoutDefault = 30 * time.Second
)

// Config of a Worker; the zero value of every field but DSN is a documented default.
type Config struct {
	// DSN names the PostgreSQL database, as postgres:// URL or keyword string. Required.
	DSN string
	// Lease is how long this node keeps the mirror after its last sign of life. Default 15 s.
	Lease time.Duration
	// Poll is how often the log is looked at at first while idle; the pause grows to half a second while nothing happens. Default 15 ms.
	Poll time.Duration
	// RetryQuarantine is how often quarantined rows are tried again. Default 1 min.
	RetryQuarantine time.Duration
	// BackoffMax caps the wait after transient errors, which doubles from 50 ms with full jitter. Default 30 s.
	BackoffMax time.Duration
	// HoldRetry is how often a held worker looks whether the reason is gone. Default 30 s.
	HoldRetry time.Duration
	// KeepLog is how long mirrored log entries stay in SQLite. Default 72 h.
	KeepLog time.Duration
	// Rolling is the time in which every row is compared with PostgreSQL once, while there is nothing to carry. Default 24 h.
	Rolling time.Duration
	// Timeout bounds a statement on the server and the connection set-up. Default 30 s.
	Timeout time.Duration
	// LogMaxBytes is how large the log in SQLite may grow while PostgreSQL is away, and never more than a quarter of the
	// room on the disk; above it, the oldest images are dropped and the tables compared later. Default 4 GiB.
	LogMaxBytes int64
	// Dial replaces the network dialer, for tests that cut connections. Default: pgx's own.
	Dial pgconn.DialFunc
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.Lease, leaseDefault)
	set(&c.Poll, pollDefault)
	set(&c.RetryQuarantine, retryDefault)
	set(&c.BackoffMax, backoffDefault)
	set(&c.HoldRetry, holdDefault)
	set(&c.KeepLog, keepDefault)
	set(&c.Rolling, rollingDefault)
	set(&c.Timeout, timeoutDefault)
	if c.LogMaxBytes == 0 {
		c.LogMaxBytes = logMaxDefault
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	for name, d := range map[string]time.Duration{
		"Lease": c.Lease, "Poll": c.Poll, "RetryQuarantine": c.RetryQuarantine, "BackoffMax": c.BackoffMax,
		"HoldRetry": c.HoldRetry, "KeepLog": c.KeepLog, "Rolling": c.Rolling, "Timeout": c.Timeout,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s is negative", name))
		}
	}
	if c.LogMaxBytes < 0 {
		errs = append(errs, errors.New("LogMaxBytes is negative"))
	}
	if err := ValidateDSN(c.DSN); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ValidateDSN checks a connection string without connecting. The error never shows its password.
func ValidateDSN(dsn string) error {
	_, err := parseDSN(dsn)
	return err
}

func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	if strings.TrimSpace(dsn) == "" {
		return nil, errors.New("the PostgreSQL connection string is empty")
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the PostgreSQL connection string is not valid: %s", dsnReason(dsn, err))
	}
	if err := checkTransport(cfg); err != nil {
		return nil, err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	if cfg.ValidateConnect == nil {
		// With several hosts, or after a fail-over, only the node that takes writes will do.
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "firemode-mirror"
	}
	return cfg, nil
}

// checkTransport refuses an address whose driver would fall back to plain text unasked: over a network that is said, with
// sslmode=disable, or it is not done.
func checkTransport(cfg *pgx.ConnConfig) error {
	plain, encrypted := cfg.TLSConfig == nil, cfg.TLSConfig != nil
	remote := !isLocal(cfg.Host)
	for _, f := range cfg.Fallbacks {
		plain, encrypted, remote = plain || f.TLSConfig == nil, encrypted || f.TLSConfig != nil, remote || !isLocal(f.Host)
	}
	if remote && plain && encrypted {
		return errors.New("the PostgreSQL connection string names another machine: add sslmode=verify-full (or require; or disable where the network itself is encrypted)")
	}
	return nil
}

// isLocal is true for a socket and for this machine itself.
func isLocal(host string) bool {
	if host == "" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

var quotedText = regexp.MustCompile("(?s)[\"`'].*[\"`']")

// dsnReason keeps what the parser objects to and drops every quotation of the string itself: parsers quote the piece
// they stumble over, and that piece may hold the password.
func dsnReason(dsn string, err error) string {
	cause := err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	var u *url.Error
	if errors.As(err, &u) {
		cause = u.Err
	}
	reason := quotedText.ReplaceAllString(cause.Error(), "…")
	for _, piece := range strings.FieldsFunc(dsn, func(r rune) bool { return strings.ContainsRune(":/@?&= '\"", r) }) {
		if len(piece) > 3 && !strings.HasPrefix("postgresql", piece) && strings.Contains(reason, piece) {
			return "check host, port, user, database and options"
		}
	}
	return reason
}
