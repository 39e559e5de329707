package identity

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/testbin"
	"firemode/sealed"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
)

// rotationScale is the short form, and the long one when FIREMODE_SOAK is set. A tenth of the
// records are users with a blind index, the others buildings; each has two sealed values.
func rotationScale() (records, clients int) {
	if long() {
		return 100_000, 50
	}
	return 2_000, 8
}

// fill stores records whose values are sealed with ring, as copies of seeded ones: a hundred
// thousand through the API would take longer than what is to be proven.
func fill(t *testing.T, env testbin.Env, ring *sealed.Keyring, n int) []*subject {
	t.Helper()
	testbin.MustRun(t, env, "seed", "--scale", "1")
	db := openDB(t, env)
	all := make([]*subject, n)
	err := db.Transactional(func(tx *dbx.Tx) error {
		insert := map[string]*dbx.Query{}
		for table, own := range map[string][]string{
			"buildings": {"id", "name", "contact_name", "contact_phone"},
			"users":     {"id", "username", "email", "tokenKey", "full_name", "phone", "phone_index"},
		} {
			columns := []string{}
			if err := tx.NewQuery("SELECT name FROM pragma_table_info({:table})").Bind(dbx.Params{"table": table}).Column(&columns); err != nil {
				return err
			}
			names := strings.Join(columns, "`, `")
			values := "`" + names + "`"
			for _, name := range own {
				values = strings.Replace(values, "`"+name+"`", "{:"+name+"}", 1)
			}
			insert[table] = tx.NewQuery("INSERT INTO " + table + " (`" + names + "`) SELECT " + values + " FROM " + table + " ORDER BY rowid LIMIT 1").Prepare()
			defer insert[table].Close()
		}
		for i := range all {
			s := newSubject(i)
			all[i] = s
			params := dbx.Params{"id": s.id}
			if s.collection == "users" {
				params["username"], params["email"], params["tokenKey"] = "u"+s.id, s.id+"@example.com", s.id
			} else {
				params["name"] = "Building " + s.id
			}
			for j, field := range s.fields() {
				token, err := ring.Seal(s.values[j], s.collection+"."+field+"."+s.id)
				if err != nil {
					return err
				}
				params[field] = token
			}
			if s.collection == "users" {
				digest, err := ring.BlindIndex("users.phone", s.values[1])
				if err != nil {
					return err
				}
				params["phone_index"] = digest
			}
			if _, err := insert[s.collection].Bind(params).Execute(); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, err)
	return all
}

// A subject is one record and what its sealed values have to be.
type subject struct {
	collection, id string
	values         [2]string // as acknowledged
	writes         int
}

func newSubject(i int) *subject {
	s := &subject{collection: "buildings", id: uuid.Must(uuid.NewV7()).String()}
	if i%10 == 0 {
		s.collection = "users"
	}
	s.values = s.next()
	return s
}

func (s *subject) fields() [2]string {
	if s.collection == "users" {
		return [2]string{"full_name", "phone"}
	}
	return [2]string{"contact_name", "contact_phone"}
}

// next are values that no other record and no other write has.
func (s *subject) next() [2]string {
	return [2]string{fmt.Sprintf("Person %s of write %d", s.id, s.writes), fmt.Sprintf("+%d %s", s.writes, s.id[19:])}
}

// write changes the record and returns how often the request was repeated.
func (s *subject) write(c *client) (repeated int, err error) {
	s.writes++
	values, fields := s.next(), s.fields()
	repeated, err = c.deliver("PATCH", record(s.collection, s.id), map[string]string{fields[0]: values[0], fields[1]: values[1]})
	if err == nil {
		s.values = values
	}
	return repeated, err
}

// A stored is what the database has of a subject.
type stored struct {
	ID     string `db:"id"`
	First  string `db:"first"`
	Second string `db:"second"`
	Digest string `db:"digest"`
}

func readStored(t *testing.T, db *dbx.DB) map[string]stored {
	t.Helper()
	all := map[string]stored{}
	for _, sql := range []string{
		"SELECT id, contact_name AS first, contact_phone AS second, '' AS digest FROM buildings",
		"SELECT id, full_name AS first, phone AS second, phone_index AS digest FROM users",
	} {
		var rows []stored
		must(t, db.NewQuery(sql).All(&rows))
		for _, row := range rows {
			all[row.ID] = row
		}
	}
	return all
}

// inspect returns everything in which the database differs from what was acknowledged, and every
// value that ring's first key did not seal.
func inspect(ring *sealed.Keyring, all []*subject, rows map[string]stored) (findings []string) {
	for _, s := range all {
		row, ok := rows[s.id]
		if !ok {
			findings = append(findings, s.id+" is missing")
			continue
		}
		for i, token := range []string{row.First, row.Second} {
			field := s.collection + "." + s.fields()[i]
			plain, key, err := ring.Inspect(token, field+"."+s.id)
			switch {
			case err != nil:
				findings = append(findings, fmt.Sprintf("%s of %s is unreadable: %v", field, s.id, err))
			case plain != s.values[i]:
				findings = append(findings, fmt.Sprintf("%s of %s: got %q, acknowledged was %q", field, s.id, plain, s.values[i]))
			case key != ring.KeyIDs()[0]:
				findings = append(findings, fmt.Sprintf("%s of %s is sealed with another key", field, s.id))
			}
		}
		if want, err := ring.BlindIndex("users.phone", s.values[1]); s.collection == "users" && (err != nil || row.Digest != want) {
			findings = append(findings, "the blind index of "+s.id+" is not that of its phone")
		}
	}
	return findings
}

// progress is the last count that a rotation printed.
var progress = regexp.MustCompile(`sealed anew: (\d+)`)

func sealedAnew(p *testbin.Process) int {
	all := progress.FindAllStringSubmatch(p.Log(), -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1][1])
	return n
}

// TestRotationStorm kills the rotation twice and the server once while clients write, and holds
// what is stored at the end against what each client was told.
func TestRotationStorm(t *testing.T) {
	t.Parallel()
	records, clients := rotationScale()
	first, second := newKey(t), newKey(t)
	ring := func(keys string) *sealed.Keyring {
		r, err := sealed.Parse(keys)
		must(t, err)
		return r
	}
	// The server that is killed still seals with the old key, as one does that was not
	// restarted yet; the one that comes back seals with the new key.
	rotating, before := newEnv(t, second+","+first), testbin.Env{}
	for k, v := range rotating {
		before[k] = v
	}
	before["FERNET_KEY"] = first + "," + second
	all := fill(t, before, ring(first), records)
	testbin.MustRun(t, before, "superuser", "create", rootEmail, rootPassword)
	server := testbin.Start(t, before)
	rotating["FIREMODE_HTTP"] = strings.TrimPrefix(server.URL, "http://") // comes back where it was
	c := newClient(t, server.URL)
	token, err := c.login("_superusers", rootEmail, rootPassword)
	must(t, err)
	c = c.as(token)

	var acknowledged, repeated atomic.Int64
	stop, errs := make(chan struct{}), make(chan error, clients)
	began := time.Now()
	var crowd sync.WaitGroup
	for i := range clients {
		random := rand.New(rand.NewPCG(uint64(i), 7))
		crowd.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Each client has records of its own, so that it knows what they hold.
				n, err := all[i+clients*random.IntN(len(all)/clients)].write(c)
				if err != nil {
					errs <- err
					return
				}
				acknowledged.Add(1)
				repeated.Add(int64(n))
			}
		})
	}
	// until waits for a share of all values to be sealed anew by one run of the rotation, and
	// for clients to have written meanwhile.
	until := func(p *testbin.Process, share float64) {
		t.Helper()
		written := acknowledged.Load()
		deadline := time.After(attemptTimeout)
		for float64(sealedAnew(p)) < share*float64(2*records) || acknowledged.Load() < written+int64(clients) {
			select {
			case err := <-errs:
				t.Fatal(err)
			case <-p.Exited():
				t.Fatalf("the rotation ended before it was killed:\n%s", p.Log())
			case <-deadline:
				t.Fatalf("no progress: %d values sealed anew, %d written\n%s", sealedAnew(p), acknowledged.Load()-written, p.Log())
			case <-time.After(time.Millisecond):
			}
		}
	}
	var rotation *testbin.Process
	for range 2 {
		rotation = testbin.Begin(t, rotating, "keys", "rotate")
		until(rotation, .15)
		if rotation.Kill(); strings.Contains(rotation.Log(), "values\n") {
			t.Errorf("the rotation was over before it was killed:\n%s", rotation.Log())
		}
	}
	rotation = testbin.Begin(t, rotating, "keys", "rotate")
	until(rotation, .15)
	server.Kill()
	server = testbin.Start(t, rotating)
	if code := rotation.Wait(t); code != 0 {
		t.Errorf("the last rotation: exit code %d\n%s", code, rotation.Log())
	}
	close(stop)
	crowd.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	writing := time.Since(began)
	if repeated.Load() == 0 {
		t.Error("no request was repeated: the kill hit nobody")
	}

	// What a save that had read the old token wrote after the rotation passed by.
	late := testbin.Begin(t, rotating, "keys", "rotate")
	if code := late.Wait(t); code != 0 {
		t.Errorf("the rotation without writers: exit code %d\n%s", code, late.Log())
	}
	for _, s := range all[:clients] { // and through the front door
		var shown map[string]any
		must(t, c.send("GET", record(s.collection, s.id), nil, &shown))
		if fields := s.fields(); shown[fields[0]] != s.values[0] || shown[fields[1]] != s.values[1] {
			t.Errorf("GET %s %s: got %v and %v, acknowledged was %q", s.collection, s.id, shown[fields[0]], shown[fields[1]], s.values)
		}
	}
	if code := server.Stop(t); code != 0 {
		t.Errorf("exit code of the server: %d\n%s", code, server.Log())
	}
	rows := readStored(t, openDB(t, rotating))
	renewed := ring(second)
	for i, finding := range inspect(renewed, all, rows) {
		if t.Error(finding); i == 20 {
			t.Fatal("and more")
		}
	}
	only := testbin.Env{}
	for k, v := range rotating {
		only[k] = v
	}
	only["FERNET_KEY"] = second // the old key may go
	if out := testbin.MustRun(t, only, "keys", "verify"); !strings.Contains(out, "sealed values are as they were written") {
		t.Errorf("keys verify: %s", out)
	}
	t.Logf("%d records, %d clients: %d writes acknowledged in %s, %d requests repeated, %d values sealed anew after the writers had stopped",
		records, clients, acknowledged.Load(), writing.Round(time.Millisecond), repeated.Load(), sealedAnew(late))
	t.Run("lies are found", func(t *testing.T) { findLies(t, renewed, ring(first), all, rows) })
}

// findLies makes sure that inspect finds what a rotation could do wrong.
func findLies(t *testing.T, ring, old *sealed.Keyring, all []*subject, rows map[string]stored) {
	user, building := all[0], all[1] // see newSubject
	seal := func(r *sealed.Keyring, plain, binding string) string {
		token, err := r.Seal(plain, binding)
		must(t, err)
		return token
	}
	for name, lie := range map[string]struct {
		of     *subject
		change func(*stored)
		want   string
	}{
		"a value is dropped":      {building, func(r *stored) { r.Second = "" }, "unreadable"},
		"an older value is back":  {building, func(r *stored) { r.First = seal(ring, "Person before", "buildings.contact_name."+r.ID) }, "acknowledged was"},
		"a value is another's":    {building, func(r *stored) { r.First = rows[all[2].id].First }, "unreadable"},
		"the old key sealed it":   {building, func(r *stored) { r.First = seal(old, building.values[0], "buildings.contact_name."+r.ID) }, "unreadable"},
		"the blind index is old":  {user, func(r *stored) { r.Digest, _ = old.BlindIndex("users.phone", user.values[1]) }, "blind index"},
		"the blind index is gone": {user, func(r *stored) { r.Digest = "" }, "blind index"},
	} {
		changed := map[string]stored{}
		for id, row := range rows {
			changed[id] = row
		}
		row := changed[lie.of.id]
		lie.change(&row)
		changed[lie.of.id] = row
		if found := inspect(ring, all, changed); len(found) != 1 || !strings.Contains(found[0], lie.want) || !strings.Contains(found[0], lie.of.id) {
			t.Errorf("%s: got %q, want one finding about %q", name, found, lie.want)
		}
	}
	delete(rows, building.id)
	if found := inspect(ring, all, rows); len(found) != 1 || !strings.Contains(found[0], "missing") {
		t.Errorf("a record is lost: got %q", found)
	}
}
