//go:build !race

package pgsync

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Whatever is changed behind the triggers, on either side, is found in exactly the row where it is, and the roots differ.
func TestSealedFindsWhatIsChangedBehind(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	var ids []string
	for range 20 {
		ids = append(ids, addParent(t, app, "p"))
	}
	victim := ids[13]
	drain(t, manual(t, app, Config{DSN: dsn}))
	if r := sealed(t, app, dsn); !r.Equal {
		t.Fatalf("fresh mirror: %+v", r)
	}
	source, mirror := rawDB(t, app.DataDir()+"/data.db"), pg(t, dsn)
	for _, coll := range []string{"parents", "kids"} {
		c, err := app.FindCollectionByNameOrId(coll)
		if err != nil {
			t.Fatal(err)
		}
		if err := dropTriggers(app, c.Id); err != nil {
			t.Fatal(err)
		}
	}
	onSource := func(query string) {
		t.Helper()
		if res, err := source.Exec(strings.ReplaceAll(query, "$id", "'"+victim+"'")); err != nil {
			t.Fatalf("%s: %v", query, err)
		} else if n, err := res.RowsAffected(); n != 1 || err != nil {
			t.Fatalf("%s: %d rows (%v)", query, n, err)
		}
	}
	onMirror := func(query string) {
		t.Helper()
		pgExec(t, mirror, strings.ReplaceAll(query, "$id", "'"+victim+"'"))
	}
	const columns = "name,v,kind,tags,meta,seen,ok,secret"
	newcomer := newID(t)
	for _, tc := range []struct {
		do             func(string)
		damage, repair string
		id, how        string
	}{
		{onSource, "UPDATE parents SET name='q' WHERE id=$id", "UPDATE parents SET name='p' WHERE id=$id", victim, "differs"}, // one bit
		{onSource, "UPDATE parents SET v=1.5000000000000002 WHERE id=$id", "UPDATE parents SET v=1.5 WHERE id=$id", victim, "differs"},
		{onSource, "UPDATE parents SET ok=FALSE WHERE id=$id", "UPDATE parents SET ok=TRUE WHERE id=$id", victim, "differs"},
		{onSource, "UPDATE parents SET meta=NULL WHERE id=$id", `UPDATE parents SET meta='{"k":[1,2.50,"ü"]}' WHERE id=$id`, victim, "differs"},
		{onSource, "UPDATE parents SET seen='2025-03-30 01:02:03.456+01:00' WHERE id=$id", "UPDATE parents SET seen='2025-03-30 01:02:03.456Z' WHERE id=$id", victim, "differs"},
		{onSource, "DELETE FROM parents WHERE id=$id", "INSERT INTO parents (id," + columns + ",hidden) SELECT $id," + columns + ",hidden FROM parents LIMIT 1", victim, "is in the mirror only"},
		{onSource, "INSERT INTO parents (id," + columns + ",hidden) SELECT '" + newcomer + "'," + columns + ",hidden FROM parents LIMIT 1", "DELETE FROM parents WHERE id='" + newcomer + "'", newcomer, "is missing in the mirror"},
		{onMirror, "UPDATE fm_mirror.parents SET name='q' WHERE id=$id", "UPDATE fm_mirror.parents SET name='p' WHERE id=$id", victim, "differs"},
		{onMirror, "UPDATE fm_mirror.parents SET seen=seen AT TIME ZONE 'Australia/Sydney' AT TIME ZONE 'UTC' WHERE id=$id", "UPDATE fm_mirror.parents SET seen='2025-03-30 01:02:03.456Z' WHERE id=$id", victim, "differs"},
		{onMirror, "DELETE FROM fm_mirror.parents WHERE id=$id", "INSERT INTO fm_mirror.parents (_origin,id,_ver,_at,_hash," + columns + ") SELECT _origin,$id,_ver,_at,_hash," + columns + " FROM fm_mirror.parents LIMIT 1", victim, "is missing in the mirror"},
		{onMirror, "INSERT INTO fm_mirror.parents (_origin,id,_ver,_at,_hash," + columns + ") SELECT _origin,'" + newcomer + "',_ver,_at,_hash," + columns + " FROM fm_mirror.parents LIMIT 1", "DELETE FROM fm_mirror.parents WHERE id='" + newcomer + "'", newcomer, "is in the mirror only"},
	} {
		tc.do(tc.damage)
		r := sealed(t, app, dsn)
		found := ""
		for _, table := range r.Tables {
			found += strings.Join(table.Differences, ";")
		}
		if r.Equal || r.Differing != 1 || r.SourceRoot == r.MirrorRoot || found != tc.id+" "+tc.how {
			t.Errorf("%s: %d differences: %s; want the one of %s", tc.damage, r.Differing, found, tc.id)
		}
		tc.do(tc.repair)
		if r := sealed(t, app, dsn); !r.Equal {
			t.Fatalf("%s does not undo %s: %+v", tc.repair, tc.damage, r)
		}
	}
	// The same bytes under another time zone of the session, and the same content written in another way, are no difference.
	onMirror(`ALTER DATABASE ` + mirror.Config().Database + ` SET timezone TO 'Australia/Sydney'`)
	onSource(`UPDATE parents SET meta=' { "k" : [1.0, 25e-1, "\u00fc"] }', v='15e-1', seen='2025-03-30 12:02:03.456+11:00' WHERE id=$id`)
	if r := sealed(t, app, dsn); !r.Equal {
		t.Errorf("other forms of the same values: %+v", r.Tables)
	}
}

// randomRows adds rows of every kind. One in twenty has values that only a hostile or a buggy writer would choose.
func randomRows(t *testing.T, app core.App, r *rand.Rand, rows int) {
	t.Helper()
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	var parents []string
	err := app.RunInTransaction(func(tx core.App) error {
		for range rows {
			id, hostile := newID(t), r.IntN(20) == 0
			text, document := soundText(r), soundJSON(r)
			v := []any{r.Int64(), -r.Int64(), r.NormFloat64(), math.Exp(600 * r.NormFloat64()), 0.1 * float64(r.IntN(100)), math.Inf(1), 1e15, math.SmallestNonzeroFloat64}[r.IntN(8)]
			kind, seen, secret := pick("a", "b", ""), pick("", "2025-06-01 10:00:00+10:30", "2025-06-01", fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d.%03dZ",
				1+r.IntN(9998), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000))), pick("", token)
			if hostile {
				text, document = unescape(randomString(r, 20)), pick(randomJSON(r, 0), "not json", `"\u0000"`)
				kind, seen, secret = pick("a", "no such"), pick("", "2025-13-01", "2024-02-29 23:59:60Z"), pick(token, "0412 345 678")
			}
			if r.IntN(4) == 0 && len(parents) > 0 {
				parent := pick(parents[r.IntN(len(parents))], "")
				if hostile {
					parent = pick(newID(t), "no uuid")
				}
				run(t, tx, "INSERT INTO kids (id,parent,email,note) VALUES ({:id},{:p},{:e},{:n})", dbx.Params{"id": id, "p": parent, "e": pick("", newID(t)), "n": text})
				continue
			}
			if !hostile {
				parents = append(parents, id)
			}
			run(t, tx, `INSERT INTO parents (id,name,v,kind,tags,meta,seen,ok,secret) VALUES ({:id},{:name},{:v},{:kind},{:tags},{:meta},{:seen},{:ok},{:secret})`, dbx.Params{
				"id": id, "name": text, "v": v, "kind": kind, "tags": pick(`[]`, `["x"]`, `["z", "y"]`), "meta": document, "ok": r.IntN(2), "seen": seen, "secret": secret})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// soundText is text that PostgreSQL takes.
func soundText(r *rand.Rand) string {
	return strings.ToValidUTF8(strings.ReplaceAll(unescape(randomString(r, 20)), "\x00", ""), "")
}

// soundJSON is JSON that PostgreSQL takes.
func soundJSON(r *rand.Rand) string {
	for range 20 {
		text := randomJSON(r, 0)
		if utf8.ValidString(text) && !strings.Contains(text, `\u0000`) && !strings.Contains(text, `\ud`) && !strings.Contains(text, `\ude`) && !hugeNumber.MatchString(text) {
			return text
		}
	}
	return `{"a": 1.50}`
}

// hugeNumber has an exponent that numeric does not reach.
var hugeNumber = regexp.MustCompile(`[eE][-+]?[0-9]{4}`)

// Random rows of every kind, sound and not, are equal on both sides: none differs, and the roots are the same. With
// FIREMODE_SOAK set there are a million.
func TestNoFalseDifferences(t *testing.T) {
	t.Parallel()
	rows := 20_000
	if os.Getenv("FIREMODE_SOAK") != "" {
		rows = 1_000_000
	}
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	r := rand.New(rand.NewPCG(7, 8))
	const piece = 2000
	for done := 0; done < rows; done += piece {
		randomRows(t, app, r, piece)
		drain(t, w)
	}
	got := sealed(t, app, dsn)
	if !got.Equal || got.Rows != int64(rows) || got.SourceRoot != got.MirrorRoot {
		for _, table := range got.Tables {
			t.Errorf("%s: %d of %d differ: %.3q", table.Table, table.Differing, table.SourceRows, table.Differences)
		}
	}
	if taken := got.Rows - got.Quarantined; taken < int64(rows)*8/10 || got.Quarantined < int64(rows)/50 {
		t.Errorf("PostgreSQL took %d of %d rows: the rows are not of both kinds", taken, rows)
	}
	t.Logf("%d rows, %d of them in quarantine, none differs", got.Rows, got.Quarantined)
}

// FuzzCodecLaw: decoding what was encoded changes nothing in the canonical form, for a value of any kind.
func FuzzCodecLaw(f *testing.F) {
	for _, seed := range []string{
		`"text"`, `"\u00fc\n\""`, `12.50`, `-0.0`, `9e999`, `123456789012345678901234567890`, `1`, `false`, `""`, `null`, `"2025-03-30 01:02:03.456Z"`, `"2025-03-30"`,
		`"{\"b\":1.0,\"a\":[null]}"`, `"` + token + `"`, `"00FF"`, `"0192f0c1-2b3c-7d4e-8f50-616263646566"`, `5`, `"\ud83d\ude00"`,
	} {
		f.Add(seed)
	}
	kinds := formsTable()
	f.Fuzz(func(t *testing.T, raw string) {
		if !json.Valid([]byte(raw)) || !utf8.ValidString(raw) || strings.TrimSpace(raw) != raw || raw[0] == '{' || raw[0] == '[' {
			return
		}
		for i := range kinds.Columns {
			c := &kinds.Columns[i]
			value := raw
			once, err := c.wire(&value)
			if err != nil || once == nil {
				continue
			}
			again, err := c.wire(ptr(encoded(t, c.Kind, *once)))
			if err != nil || again == nil {
				t.Errorf("%s %s: the wire form %q cannot be decoded: %v", c.Kind, raw, *once, err)
				continue
			}
			var canon canonicalizer
			want, got := string(canon.appendCanonical(nil, c.Kind, *once)), string(canon.appendCanonical(nil, c.Kind, *again))
			if got != want {
				t.Errorf("%s %s: %q, after a round trip %q", c.Kind, raw, want, got)
			}
			// A canonical value is its own canonical form, but for what a list or an object ends in.
			if c.Kind != KindJSON {
				if twice := string(canon.appendCanonical(nil, c.Kind, want)); twice != want {
					t.Errorf("%s %s: %q, once more %q", c.Kind, raw, want, twice)
				}
			}
		}
	})
}

// encoded is a wire form as an image would have it.
func encoded(t *testing.T, k Kind, wire string) string {
	switch k {
	case KindNumber, KindInteger:
		if strings.HasSuffix(wire, "Infinity") {
			return strings.Replace(wire, "Infinity", "9e999", 1)
		}
		return wire
	case KindBool:
		return wire
	case KindBytes:
		return strconv.Quote(strings.TrimPrefix(wire, `\x`))
	}
	b, err := json.Marshal(wire)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
