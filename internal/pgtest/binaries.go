package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// ErrNotFound says that this machine has no PostgreSQL server binaries, and what to do about it.
var ErrNotFound = errors.New("no PostgreSQL server binaries found: install them (Debian, Ubuntu: apt-get install postgresql; " +
	"macOS: brew install postgresql), or set FIREMODE_PG_BIN to the directory of initdb and postgres, " +
	"or FIREMODE_TEST_POSTGRES to the connection string of a running server")

// installations are where packages put the server, beside PATH: Debian, RPM, Homebrew (both processors), Postgres.app.
var installations = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// BinDir returns the directory of the server binaries, or ErrNotFound.
func BinDir() (string, error) {
	return binDir(os.Getenv("FIREMODE_PG_BIN"), exec.LookPath, installations)
}

func binDir(explicit string, lookPath func(string) (string, error), globs []string) (string, error) {
	if explicit != "" {
		if !hasServer(explicit) {
			return "", fmt.Errorf("FIREMODE_PG_BIN=%s: no initdb and postgres there", explicit)
		}
		return explicit, nil
	}
	if path, err := lookPath("initdb"); err == nil {
		// Wrappers of distributions are links; the server lies beside the real initdb.
		if real, err := filepath.EvalSymlinks(path); err == nil && hasServer(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	var found []string
	for _, glob := range globs {
		dirs, _ := filepath.Glob(glob) // the patterns are constants, so they are well formed
		for _, dir := range dirs {
			if hasServer(dir) {
				found = append(found, dir)
			}
		}
	}
	if len(found) == 0 {
		return "", ErrNotFound
	}
	sort.SliceStable(found, func(i, j int) bool { return major(found[i]) > major(found[j]) })
	return found[0], nil
}

func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// major is the last number in an installation path, which is the major version in all of them.
func major(dir string) int {
	n := 0
	for _, digits := range strings.FieldsFunc(dir, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ = strconv.Atoi(digits)
	}
	return n
}
