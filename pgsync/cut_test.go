//go:build !race

package pgsync

import (
	"fmt"
	"testing"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// placesMax bounds the long form: the salvage of a batch takes some 36,000 bytes, every other kind fewer than this.
const placesMax = 9000

// cutScene is a mirror whose connection is cut again and again.
type cutScene struct {
	t      *testing.T
	app    core.App
	conn   *pgx.Conn
	w      *Worker
	parent string
	kids   []string
	n      int // batches so far
}

// batches are the kinds of work that a batch can hold. Each writes something new for every cut.
var batches = map[string]func(s *cutScene, tx core.App){
	"insert and update": func(s *cutScene, tx core.App) {
		addKid(s.t, tx, s.parent, newID(s.t))
		run(s.t, tx, "UPDATE parents SET v=v+1 WHERE id={:p}", dbx.Params{"p": s.parent})
	},
	"delete": func(s *cutScene, tx core.App) {
		run(s.t, tx, "DELETE FROM kids WHERE id={:id}", dbx.Params{"id": s.kids[0]})
		s.kids = append(s.kids[1:], addKid(s.t, tx, s.parent, ""))
	},
	"unique values change hands in several tables": func(s *cutScene, tx core.App) {
		p := addParent(s.t, tx, fmt.Sprint("p", s.n))
		run(s.t, tx, "UPDATE kids SET email='' WHERE email='held'")
		run(s.t, tx, "UPDATE kids SET email='held', parent={:p} WHERE id={:id}", dbx.Params{"p": p, "id": s.kids[s.n%len(s.kids)]})
		run(s.t, tx, "DELETE FROM parents WHERE name={:n}", dbx.Params{"n": fmt.Sprint("p", s.n-5)})
		run(s.t, tx, "DELETE FROM kids WHERE parent NOT IN (SELECT id FROM parents)")
		for len(s.kids) < 10 {
			s.kids = append(s.kids, addKid(s.t, tx, s.parent, ""))
		}
		s.readKids(tx)
	},
	"schema change between rows": func(s *cutScene, tx core.App) {
		kid := func() {
			run(s.t, tx, "INSERT INTO kids (id,parent) VALUES ({:id},{:p})", dbx.Params{"id": newID(s.t), "p": s.parent})
		}
		kid()
		change1(s.t, tx, "kids", func(c *core.Collection) {
			names := [2]string{"note", "remark"}
			c.Fields.GetByName(names[(s.n+1)%2]).SetName(names[s.n%2])
			if c.GetIndex("unq_more") == "" {
				c.AddIndex("unq_more", true, "`email`, `parent`", "`email` != ''")
			} else {
				c.RemoveIndex("unq_more")
			}
		})
		kid()
	},
	"comparison": func(s *cutScene, tx core.App) {
		pgExec(s.t, s.conn, "UPDATE fm_mirror.kids SET note='by hand' WHERE id = (SELECT min(id::text) FROM fm_mirror.kids)::uuid")
		pgExec(s.t, s.conn, "DELETE FROM fm_mirror.kids WHERE id = (SELECT max(id::text) FROM fm_mirror.kids)::uuid")
		addKid(s.t, tx, s.parent, "")
		if err := appendEntry(tx, mustCollection(s.t, tx, "kids").Id, opResync, nil); err != nil {
			s.t.Fatal(err)
		}
	},
	"refused rows": func(s *cutScene, tx core.App) {
		values := [2]string{"a", "outside"}
		addKid(s.t, tx, s.parent, "")
		run(s.t, tx, "UPDATE parents SET kind={:k} WHERE id={:p}", dbx.Params{"k": values[s.n%2], "p": s.parent})
		run(s.t, tx, "UPDATE kids SET parent='0192f0c1-2b3c-7d4e-8f50-616263646566' WHERE id={:id}", dbx.Params{"id": s.kids[s.n%len(s.kids)]})
		run(s.t, tx, "UPDATE kids SET parent={:p} WHERE id={:id}", dbx.Params{"p": s.parent, "id": s.kids[(s.n+1)%len(s.kids)]})
	},
	"appended runs": func(s *cutScene, tx core.App) {
		run(s.t, tx, "INSERT INTO heads (doc,n) VALUES (1,3) ON CONFLICT (doc) DO UPDATE SET n=n+3")
		run(s.t, tx, `INSERT INTO lines (doc,n,line) SELECT 1, h.n-d.value, 'line' FROM heads h, json_each('[0,1,2]') d`)
	},
}

func (s *cutScene) readKids(tx core.App) {
	s.t.Helper()
	s.kids = nil
	if err := tx.DB().NewQuery("SELECT id FROM kids ORDER BY id DESC LIMIT 10").Column(&s.kids); err != nil {
		s.t.Fatal(err)
	}
}

// A batch of any kind whose connection breaks at any byte, either way, has its effect exactly once.
func TestConnectionCutAtEveryPlace(t *testing.T) {
	t.Parallel()
	for kind, write := range batches {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			run(t, app, "CREATE TABLE heads (doc INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE lines (doc INTEGER, n INTEGER, line TEXT, PRIMARY KEY (doc,n))")
			if err := Arm(app, Source{Collections: small.Collections, Tables: []PlainTable{runs}}); err != nil {
				t.Fatal(err)
			}
			dsn := pgtest.Database(t)
			s := &cutScene{t: t, app: app, parent: addParent(t, app, "counter"), conn: pg(t, dsn)}
			for range 10 {
				s.kids = append(s.kids, addKid(t, app, s.parent, ""))
			}
			s.cutEverywhere(dsn, write)
			mustEqual(t, app, dsn)
			journalEqualsLog(t, app, s.conn)
		})
	}
}

func (s *cutScene) cutEverywhere(dsn string, write func(s *cutScene, tx core.App)) {
	t := s.t
	dial := &faultDial{}
	s.w = manual(t, s.app, Config{DSN: dsn, Dial: dial.dial})
	drain(t, s.w)
	var ambiguous, lost, heard int
	one := func(up, down int64) (sent, received int64) {
		s.n++
		if err := s.app.RunInTransaction(func(tx core.App) error { write(s, tx); return nil }); err != nil {
			t.Fatal(err)
		}
		// Each batch goes over a new connection, so that it includes the preparation of its statements.
		s.w.disconnect(deadline(t))
		dial.expect()
		if _, err := s.w.step(deadline(t)); err != nil {
			t.Fatalf("reconnect: %v", err)
		}
		before := s.w.ses.pos.Seq
		c := dial.conn.Load()
		s0, r0 := c.sent.Load(), c.received.Load()
		c.up.Store(up)
		c.down.Store(down)
		_, err := s.w.step(deadline(t))
		sent, received = c.sent.Load()-s0, c.received.Load()-r0
		c.up.Store(-1)
		c.down.Store(-1)
		if err != nil {
			if got := classify(err); got != classTransient {
				t.Fatalf("cut up=%d down=%d: %v is %s, want transient", up, down, err, got)
			}
			s.w.disconnect(deadline(t))
			if settled(t, s.conn) > before {
				ambiguous++
			} else {
				lost++
			}
		} else {
			heard++
		}
		drain(t, s.w)
		return sent, received
	}
	one(-1, -1)
	one(-1, -1)
	sent, received := one(-1, -1)
	stepUp, stepDown := max(1, sent/14), max(1, received/12)
	if *everyByte {
		stepUp, stepDown = 1+sent/placesMax, 1+received/placesMax
	}
	for k := int64(0); k <= sent; k += stepUp {
		one(k, -1)
	}
	for k := int64(0); k <= received; k += stepDown {
		one(-1, k)
	}
	for k := max(0, received-8); k < received; k++ { // the answer to the last COMMIT
		one(-1, k)
	}
	t.Logf("%d batches of %d bytes up, %d down: not applied %d, applied though the answer was lost %d, heard %d",
		s.n, sent, received, lost, ambiguous, heard)
	if ambiguous == 0 || lost == 0 {
		t.Errorf("the cuts met only one side of the commit: applied %d, not applied %d", ambiguous, lost)
	}
}

// settled returns the position once no backend is busy with a cut batch any more.
func settled(t *testing.T, conn *pgx.Conn) int64 {
	t.Helper()
	eventually(t, "the cut backend ended", func() bool {
		return one[int](t, conn, `SELECT count(*)::int FROM pg_stat_activity WHERE datname=current_database()
			AND pid<>pg_backend_pid() AND application_name='firemode-mirror'`) == 0
	})
	return one[int64](t, conn, "SELECT seq FROM fm_sync.origin")
}
