package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"
	"firemode/pgsync"
)

func TestMirrorOffIsNoError(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	if out := p.mustRun(t, "mirror", "status"); out != "off (DATABASE_URL is not set)\n" {
		t.Errorf("status: got %q", out)
	}
	var st struct{ State string }
	if err := json.Unmarshal([]byte(p.mustRun(t, "mirror", "status", "--json")), &st); err != nil || st.State != "off" {
		t.Errorf("status --json: got %+v (%v)", st, err)
	}
}

// An unreachable PostgreSQL is an error with a next step, and shows no password.
func TestMirrorUnreachable(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	p := newProgram(t)
	p.deps.MirrorDSN = "postgres://firemode:topsecret@" + addr + "/firemode"
	for _, args := range [][]string{{"mirror", "status"}, {"mirror", "status", "--json"}, {"mirror", "verify"}} {
		out, errs, err := p.run(args...)
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: got %v, want the connection refused", args, err)
		}
		if args[1] == "status" && (err == nil || !strings.Contains(err.Error(), "check DATABASE_URL")) {
			t.Errorf("%v: got %v, want a hint", args, err)
		}
		if err != nil && strings.Contains(out+errs+err.Error(), "topsecret") {
			t.Errorf("%v: shows the password", args)
		}
	}
	p.deps.MirrorDSN = "postgres://firemode:topsecret@/%zz"
	if out, errs, err := p.run("mirror", "status"); err == nil || strings.Contains(out+errs+err.Error(), "topsecret") {
		t.Errorf("malformed address: got %v", err)
	}
}

// Against a real PostgreSQL: nothing there, a live worker, stopped again, a row
// changed behind its back.
func TestMirrorAgainstPostgreSQL(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.deps.MirrorDSN = pgtest.Database(t)
	p.seed(t, "--scale", "3")
	if _, _, err := p.run("mirror", "status"); err == nil || !strings.Contains(err.Error(), "no mirror") {
		t.Errorf("before the first worker: got %v", err)
	}

	worker, err := pgsync.New(p.app, pgsync.Config{DSN: p.deps.MirrorDSN})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer worker.Stop()
	if out := p.mustRun(t, "mirror", "verify", "--timeout", "1m"); !strings.Contains(out, "\nequal at change ") {
		t.Errorf("verify: got\n%s", out)
	}
	if out := words(p.mustRun(t, "mirror", "status")); !strings.Contains(out, "backlog 0 changes") || !strings.Contains(out, "state live") {
		t.Errorf("status while live: got\n%s", out)
	}

	proveRow(t, p)

	tamper(t, p.deps.MirrorDSN)
	out, _, err := p.run("mirror", "verify", "--json", "--timeout", "1m")
	if err == nil || !strings.Contains(err.Error(), "differs") || !strings.Contains(out, `"equal": false`) {
		t.Errorf("verify after a change behind the mirror's back: got %v and\n%.300s", err, out)
	}

	// Repaired by name, by the running server; the other commands agree.
	if _, _, err := p.run("mirror", "reconcile", "nothing"); err == nil || !strings.Contains(err.Error(), "not mirrored") {
		t.Errorf("an unknown table: got %v", err)
	}
	if out := p.mustRun(t, "mirror", "reconcile", "buildings"); out != "1 tables compared; what differed is repaired\n" {
		t.Errorf("reconcile: got %q", out)
	}
	if out := p.mustRun(t, "mirror", "verify", "--timeout", "1m"); !strings.Contains(out, "\nequal at change ") {
		t.Errorf("verify after the repair: got\n%s", out)
	}
	var all struct {
		Tables []string
		Done   bool
	}
	if err := json.Unmarshal([]byte(p.mustRun(t, "mirror", "reconcile", "--json")), &all); err != nil || !all.Done || len(all.Tables) < 12 {
		t.Errorf("reconcile --json: got %+v (%v)", all, err)
	}
	if _, _, err := p.run("mirror", "rebuild", "--drop"); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("rebuild --drop: got %v, want to be asked", err)
	}
	var anew struct {
		Mode          string
		Tables, Open  int
		Rows, Diffs   int64
		Dropped, Done bool
	}
	if err := json.Unmarshal([]byte(p.mustRun(t, "mirror", "rebuild", "--drop", "--yes", "--json")), &anew); err != nil || !anew.Done || !anew.Dropped ||
		anew.Mode != "rebuild" || anew.Tables < 12 || anew.Open != 0 || anew.Rows == 0 || anew.Diffs != anew.Rows {
		t.Errorf("rebuild --drop: got %+v (%v)", anew, err)
	}
	if out := p.mustRun(t, "mirror", "rebuild"); !strings.HasSuffix(out, "; 0 rows differed, 0 of them are repaired\n") {
		t.Errorf("rebuild: got %q", out)
	}
	if out := words(p.mustRun(t, "mirror", "status")); !strings.Contains(out, "last comparison rebuild of ") {
		t.Errorf("status after a rebuild: got\n%s", out)
	}
	if out := p.mustRun(t, "mirror", "quarantine"); out != "no row is in quarantine\n" {
		t.Errorf("quarantine: got %q", out)
	}
	if out := p.mustRun(t, "mirror", "doctor"); strings.Contains(out, "NOT OK") || strings.Count(out, "\n") < 10 {
		t.Errorf("doctor: got\n%s", out)
	}

	worker.Stop()
	if _, _, err := p.run("mirror", "rebuild", "--drop", "--yes"); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("rebuild without a worker: got %v", err)
	}
	if out := p.mustRun(t, "mirror", "reconcile", "--no-wait"); !strings.Contains(out, "or the next one") {
		t.Errorf("reconcile without a worker: got %q", out)
	}
	p.seed(t, "--scale", "4")
	out = words(p.mustRun(t, "mirror", "status"))
	// A worker that was interrupted leaves its lease behind, which runs out by itself.
	running := strings.Contains(out, "state live") || strings.Contains(out, "state stopped")
	if !running || strings.Contains(out, "backlog 0 changes") {
		t.Errorf("status after the worker stopped: got\n%s", out)
	}
}

// The roles are printed without a mirror, a data directory or a password.
func TestMirrorRoles(t *testing.T) {
	t.Parallel()
	out := newFreshProgram(t).mustRun(t, "mirror", "roles")
	if out != pgsync.Roles() || strings.Count(out, "CREATE ROLE") < 4 || strings.Contains(out, "PASSWORD") {
		t.Errorf("got\n%s", out)
	}
}

// proveRow seals a run and proves a row of it, offline, to somebody who holds its root.
func proveRow(t *testing.T, p program) {
	t.Helper()
	var run pgsync.Report
	if err := json.Unmarshal([]byte(p.mustRun(t, "mirror", "verify", "--sealed", "--json", "--timeout", "1m")), &run); err != nil || !run.Equal || !run.Sealed {
		t.Fatalf("verify --sealed: %+v (%v)", run, err)
	}
	entry, err := p.app.FindFirstRecordByData("audit_log", "action", "verify_mirror")
	if err != nil || entry.GetString("resource_id") != run.Run || !strings.Contains(entry.GetString("new_values"), run.SourceRoot) {
		t.Errorf("audit entry of the run: %v (%v)", entry, err)
	}
	building, err := p.app.FindFirstRecordByFilter("buildings", "name != ''")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "proof.json")
	proof := p.mustRun(t, "mirror", "prove", "buildings", building.Id)
	if err := os.WriteFile(file, []byte(proof), 0o600); err != nil {
		t.Fatal(err)
	}
	offline := newFreshProgram(t) // neither this database nor PostgreSQL
	if out := offline.mustRun(t, "mirror", "check-proof", file, "--root", run.SourceRoot); !strings.HasSuffix(out, "\nproved\n") || !strings.Contains(out, building.GetString("name")) {
		t.Errorf("check-proof: got\n%s", out)
	}
	if out := offline.mustRun(t, "mirror", "check-proof", file); !strings.HasSuffix(out, "is that of the run\n") {
		t.Errorf("check-proof without a root: got\n%s", out)
	}
	if offline.app.IsBootstrapped() {
		t.Error("check-proof opened a database")
	}
	if _, _, err := offline.run("mirror", "check-proof", file, "--root", strings.Repeat("00", 32)); err == nil || !strings.Contains(err.Error(), "another root") {
		t.Errorf("another root: %v", err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(proof, building.Id, building.Id[:35]+"x", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := offline.run("mirror", "check-proof", file); !errors.Is(err, pgsync.ErrProof) {
		t.Errorf("a changed proof: %v", err)
	}
	if _, _, err := p.run("mirror", "prove", "buildings", building.Id, "--run", run.SourceID); !errors.Is(err, pgsync.ErrNoRun) {
		t.Errorf("an unknown run: %v", err)
	}
}

// words is a text without its layout.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// tamper changes a mirrored row in PostgreSQL.
func tamper(t *testing.T, dsn string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tag, err := conn.Exec(ctx, "UPDATE fm_mirror.buildings SET name = 'Elsewhere' WHERE id = (SELECT min(id::text)::uuid FROM fm_mirror.buildings)")
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("change a mirrored row: %d rows (%v)", tag.RowsAffected(), err)
	}
}

// Adopting deletes what only PostgreSQL has, so it wants to be asked for twice.
func TestMirrorAdopt(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	if _, _, err := p.run("mirror", "adopt", "--yes"); err == nil || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("without a mirror: got %v", err)
	}
	p.deps.MirrorDSN = pgtest.Database(t)
	if _, _, err := p.run("mirror", "adopt"); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("without --yes: got %v", err)
	}
	if out := p.mustRun(t, "mirror", "adopt", "--yes"); !strings.HasPrefix(out, "adopted") {
		t.Errorf("adopt: got %q", out)
	}
}
