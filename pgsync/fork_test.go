package pgsync

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// forkScene is a mirrored database with everything that can be done to either side.
type forkScene struct {
	t      *testing.T
	app    core.App
	server *pgtest.Server
	db     string // name of the database of PostgreSQL
	w      *Worker
}

func (s *forkScene) dsn() string { return s.server.URL(s.db) }

// write adds a row and carries it.
func (s *forkScene) write() {
	s.t.Helper()
	addKid(s.t, s.app, "", newID(s.t))
	drain(s.t, s.w)
}

// leave ends the worker; its lease stands as if the process had died, or has lapsed.
func (s *forkScene) leave(lapsed bool) {
	s.t.Helper()
	s.w.disconnect(deadline(s.t))
	if lapsed {
		s.admin(s.db, "UPDATE fm_sync.origin SET lease_until = '-infinity'")
	}
}

// admin runs one statement and leaves no connection behind: a database that is cloned must have none.
func (s *forkScene) admin(db, query string) {
	s.t.Helper()
	conn := pg(s.t, s.server.URL(db))
	pgExec(s.t, conn, query)
	if err := conn.Close(deadline(s.t)); err != nil {
		s.t.Fatal(err)
	}
}

// backup copies SQLite as a backup does.
func (s *forkScene) backup() string {
	s.t.Helper()
	dir := s.t.TempDir()
	run(s.t, s.app, "VACUUM INTO {:to}", dbx.Params{"to": filepath.Join(dir, "data.db")})
	return dir
}

// unplugged copies the files as they lie on a disk that lost the end of the write-ahead log: database and log without its
// last bytes.
func (s *forkScene) unplugged(lost int64) string {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, name := range []string{"data.db", "data.db-wal"} {
		from, err := os.Open(filepath.Join(s.app.DataDir(), name))
		if err != nil {
			s.t.Fatal(err)
		}
		defer from.Close()
		info, err := from.Stat()
		if err != nil {
			s.t.Fatal(err)
		}
		size := info.Size()
		if name != "data.db" {
			size -= lost
		}
		to, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := io.CopyN(to, from, size); err != nil {
			s.t.Fatal(err)
		}
		if err := to.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	return dir
}

// clone keeps a copy of the database of PostgreSQL as it is now, under another name. Nobody may be connected.
func (s *forkScene) clone(name string) {
	s.t.Helper()
	s.admin("postgres", "CREATE DATABASE "+name+" TEMPLATE "+s.db)
}

// walEntry is what one small transaction takes in the write-ahead log of SQLite, and more than its last frame.
const walEntry = 4096 + 24

// forks are all ways in which the two sides can cease to belong together. Each returns the database that is to be
// mirrored next and what must become of it: equal, standby, fork or gap.
var forks = map[string]func(s *forkScene) (core.App, string){
	"nothing": func(s *forkScene) (core.App, string) {
		s.leave(false)
		return s.app, "equal"
	},
	"an old backup": func(s *forkScene) (core.App, string) {
		old := s.backup()
		s.write()
		s.leave(true)
		return restored(s.t, old), "fork"
	},
	"an old backup that was written to": func(s *forkScene) (core.App, string) {
		old := restored(s.t, s.backup())
		s.write()
		s.leave(true)
		for range 3 {
			addKid(s.t, old, "", newID(s.t))
		}
		return old, "fork"
	},
	"a backup of this very moment": func(s *forkScene) (core.App, string) {
		old := s.backup()
		s.leave(true)
		return restored(s.t, old), "equal"
	},
	"power loss that took what was mirrored, on another disk": func(s *forkScene) (core.App, string) {
		s.write()
		s.leave(true)
		return restored(s.t, s.unplugged(walEntry)), "fork"
	},
	"power loss that took what was not mirrored": func(s *forkScene) (core.App, string) {
		s.leave(true)
		addKid(s.t, s.app, "", newID(s.t))
		return restored(s.t, s.unplugged(walEntry)), "equal"
	},
	"PostgreSQL of an earlier moment": func(s *forkScene) (core.App, string) {
		s.leave(true)
		s.clone("earlier")
		s.write()
		s.leave(true)
		s.db = "earlier"
		return s.app, "equal"
	},
	"PostgreSQL of an earlier moment, whose log is gone": func(s *forkScene) (core.App, string) {
		s.leave(true)
		s.clone("pruned")
		s.write()
		s.write()
		s.leave(true)
		run(s.t, s.app, "DELETE FROM _pgsync_log WHERE seq < {:end}", dbx.Params{"end": logEnd(s.t, s.app)})
		s.db = "pruned"
		return s.app, "gap"
	},
	"PostgreSQL of a later moment": func(s *forkScene) (core.App, string) {
		old := s.backup()
		s.write()
		s.leave(true)
		s.clone("later") // what a restored PostgreSQL holds beyond the restored SQLite
		s.db = "later"
		return restored(s.t, old), "fork"
	},
	"an empty PostgreSQL": func(s *forkScene) (core.App, string) {
		s.leave(true)
		s.admin("postgres", "CREATE DATABASE empty")
		s.db = "empty"
		return s.app, "equal"
	},
	"an empty PostgreSQL, and the log has lost its beginning": func(s *forkScene) (core.App, string) {
		s.leave(true)
		run(s.t, s.app, "DELETE FROM _pgsync_log WHERE seq < {:end}", dbx.Params{"end": logEnd(s.t, s.app)})
		s.admin("postgres", "CREATE DATABASE fresh")
		s.db = "fresh"
		return s.app, "equal"
	},
	"the PostgreSQL of somebody else": func(s *forkScene) (core.App, string) {
		s.leave(true)
		other := smallApp(s.t)
		run(s.t, other, "UPDATE _pgsync_meta SET v={:id} WHERE k='source_id'", dbx.Params{"id": newID(s.t)})
		addKid(s.t, other, "", newID(s.t))
		s.admin("postgres", "CREATE DATABASE foreign_target")
		s.db = "foreign_target"
		w := manual(s.t, other, Config{DSN: s.dsn()})
		drain(s.t, w)
		s.t.Cleanup(func() { mustEqual(s.t, other, s.dsn()) }) // neither takes anything from the other
		w.disconnect(deadline(s.t))
		return s.app, "equal"
	},
	"a copied disk while the original lives": func(s *forkScene) (core.App, string) {
		return restored(s.t, s.backup()), "standby"
	},
	"a copied disk while the original lives and goes on": func(s *forkScene) (core.App, string) {
		copied := restored(s.t, s.backup())
		s.write()
		return copied, "fork"
	},
	"a copied disk, written to while the original lives": func(s *forkScene) (core.App, string) {
		copied := restored(s.t, s.backup())
		addKid(s.t, copied, "", newID(s.t))
		return copied, "standby"
	},
	"a copied disk after the original died": func(s *forkScene) (core.App, string) {
		copied := restored(s.t, s.backup())
		s.leave(true)
		addKid(s.t, copied, "", newID(s.t))
		return copied, "equal"
	},
	"the original after its copy took over": func(s *forkScene) (core.App, string) {
		copied := restored(s.t, s.backup())
		s.leave(true)
		addKid(s.t, s.app, "", newID(s.t)) // not mirrored any more
		w := manual(s.t, copied, Config{DSN: s.dsn()})
		drain(s.t, w)
		addKid(s.t, copied, "", newID(s.t))
		drain(s.t, w)
		return s.app, "fork"
	},
}

// Whatever happens to either side, the mirror goes on only where its position proves that it may; everything else is
// held, and stays as it is however often the worker looks.
func TestForksOfEveryKind(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	for name, happens := range forks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &forkScene{t: t, app: smallApp(t), server: server, db: "fork_" + newID(t)[24:]}
			s.admin("postgres", "CREATE DATABASE "+s.db)
			s.w = manual(t, s.app, Config{DSN: s.dsn()})
			addKid(t, s.app, addParent(t, s.app, "p"), "")
			drain(t, s.w)
			s.write()
			app, want := happens(s)
			s.expect(app, want)
		})
	}
}

func (s *forkScene) expect(app core.App, want string) {
	t := s.t
	conn := pg(t, s.dsn())
	const lease = "SELECT coalesce(string_agg(concat_ws(' ', epoch, seq, nonce, term, node), ','), '') FROM fm_sync.origin"
	if want == "equal" {
		w := manual(t, app, Config{DSN: s.dsn()})
		drain(t, w)
		addKid(t, app, "", newID(t))
		drain(t, w)
		if r := mustEqual(t, app, s.dsn()); r.Epoch != 1 {
			t.Errorf("epoch = %d, want 1: nobody declared another one", r.Epoch)
		}
		return
	}
	before := one[string](t, conn, lease)
	live := started(t, app, Config{DSN: s.dsn(), HoldRetry: time.Millisecond, Lease: 10 * time.Millisecond})
	eventually(t, "the worker has looked many times", func() bool { return live.Status().Failures > 20 })
	st := live.Status()
	live.Stop()
	got := string(st.State)
	if st.State == StateHeld {
		if _, err := manual(t, app, Config{DSN: s.dsn()}).step(deadline(t)); err != nil {
			got = heldReason(err)
		}
	}
	if got != want {
		t.Errorf("the worker is %s (%s), want %s", got, st.LastError, want)
	}
	if after := one[string](t, conn, lease); after != before {
		t.Errorf("epoch, position, term and node went from %s to %s", before, after)
	}
}

// A database and its copy are both written to and both have a worker. One of them mirrors, the other never gets in, not
// even when the first has gone, and nothing begins a new epoch.
func TestTwoShippersNeverTakeTurns(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	cfg := Config{DSN: dsn, Poll: time.Millisecond, HoldRetry: time.Millisecond}
	addParent(t, app, "p")
	first := started(t, app, cfg)
	if err := first.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	backup := t.TempDir()
	run(t, app, "VACUUM INTO {:to}", dbx.Params{"to": filepath.Join(backup, "data.db")})
	copied := restored(t, backup)
	conn := pg(t, dsn)
	term := one[int64](t, conn, "SELECT term FROM fm_sync.origin")
	second := started(t, copied, cfg)
	for range 30 {
		addKid(t, app, "", newID(t))
		addKid(t, copied, "", newID(t))
	}
	if err := first.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatalf("%v; %+v", err, first.Status())
	}
	mustEqual(t, app, dsn)
	first.Stop()
	failures := second.Status().Failures
	eventually(t, "the second has looked at what the first left", func() bool { return second.Status().Failures > failures+5 })
	if st := second.Status(); st.State != StateHeld {
		t.Errorf("the copy is %s, want held", st.State)
	}
	if got := one[string](t, conn, "SELECT concat(epoch, ' ', seq, ' ', term) FROM fm_sync.origin"); got != fmt.Sprintf("1 %d %d", logEnd(t, app), term) {
		t.Errorf("epoch, position and term = %s, want 1 %d %d", got, logEnd(t, app), term)
	}
	mustEqual(t, app, dsn)
}
