package peers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"firemode/crdt"
)

// update records Automerge's answers anew; needs npm ci in this folder.
var update = flag.Bool("update", false, "write testdata/automerge.ndjson anew")

// recorded is how many histories testdata holds.
const recorded = 60

// view is what a replica shows: the live values of each key, in order, and the counters.
type view struct {
	K0, K1, K2, K3 []int
	X, Y           int
}

// A history is one line of automerge.mjs.
type history struct {
	Seed       int
	Ops        []string
	Automerge  []view // of each replica, after all have merged
	JavaScript []view // our rules in JavaScript
}

func readHistories(t *testing.T, raw []byte) (all []history) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var h history
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

// generate runs Automerge.
func generate(t *testing.T, histories, seed int) []byte {
	t.Helper()
	if _, err := os.Stat(filepath.Join("node_modules", "@automerge")); err != nil {
		cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	cmd := exec.Command("node", "automerge.mjs", strconv.Itoa(histories), strconv.Itoa(seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run automerge.mjs: %v", err)
	}
	return out
}

// goView merges the operations in Go, those that are early again and again, last first: in
// whatever order they come.
func goView(t *testing.T, ops []string, change func(*crdt.Op)) view {
	t.Helper()
	d := crdt.New()
	waiting := slices.Clone(ops)
	slices.Reverse(waiting)
	for len(waiting) > 0 {
		left := waiting[:0]
		for _, line := range waiting {
			op, err := crdt.ParseOp([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			if change != nil {
				changed := crdt.Op{Dot: op.Dot, Time: op.Time, Kind: op.Kind, Path: op.Path, Val: op.Val, N: op.N, Seen: op.Seen}
				change(&changed)
				op = changed
			}
			if _, err := d.Apply(&op); err != nil {
				left = append(left, line)
			}
		}
		if len(left) == len(waiting) {
			t.Fatalf("%d operations never became ready", len(left))
		}
		waiting = left
	}
	values := func(key string) []int {
		list := []int{}
		for _, e := range d.Values("m/" + key) {
			n, err := strconv.Atoi(e.Val)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		slices.Sort(list)
		return list
	}
	x, _ := d.Counter("c/x")
	y, _ := d.Counter("c/y")
	return view{values("k0"), values("k1"), values("k2"), values("k3"), int(x), int(y)}
}

// differences are the replicas of Automerge, or of ours in JavaScript, that show something else
// than ours in Go.
func differences(t *testing.T, all []history, change func(*crdt.Op)) (found []string, contended int) {
	t.Helper()
	for _, h := range all {
		got := goView(t, h.Ops, change)
		for who, views := range map[string][]view{"Automerge": h.Automerge, "JavaScript": h.JavaScript} {
			if len(views) < 2 {
				t.Fatalf("seed %d: %d replicas of %s, want two or more", h.Seed, len(views), who)
			}
			for _, want := range views {
				if !reflect.DeepEqual(got, want) {
					found = append(found, fmt.Sprintf("seed %d: Go shows %+v, %s %+v", h.Seed, got, who, want))
				}
			}
		}
		for _, values := range [][]int{got.K0, got.K1, got.K2, got.K3} {
			if len(values) > 1 {
				contended++
			}
		}
	}
	return found, contended
}

// On what both know, keys with concurrent values, deletions and counters, Automerge shows the
// same as we do in Go and in JavaScript. Its recorded answers here, its own in the long run.
func TestAutomergeSaysTheSame(t *testing.T) {
	t.Parallel()
	file := filepath.Join("testdata", "automerge.ndjson")
	if *update {
		if err := os.WriteFile(file, generate(t, recorded, 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("FIREMODE_SOAK") != "" {
		raw = append(raw, generate(t, 2000, 1_000_000)...)
	}
	all := readHistories(t, raw)
	found, contended := differences(t, all, nil)
	if len(found) > 0 {
		t.Errorf("%d differences, the first: %s", len(found), found[0])
	}
	ops := 0
	for _, h := range all {
		ops += len(h.Ops)
	}
	t.Logf("%d histories, %d operations, %d keys with several values", len(all), ops, contended)
	if len(all) < recorded || contended < len(all)/2 {
		t.Errorf("got %d histories and %d keys in conflict: too few to tell anything", len(all), contended)
	}
	for name, wrong := range map[string]func(*crdt.Op){
		"nothing is replaced": func(o *crdt.Op) {
			if o.Kind == crdt.Put {
				o.Seen = nil
			}
		},
		"deletions do nothing": func(o *crdt.Op) {
			if o.Kind == crdt.Rem {
				o.Path = "elsewhere"
			}
		},
		"counts double": func(o *crdt.Op) { o.N *= 2 },
	} {
		if found, _ := differences(t, all[:recorded], wrong); len(found) == 0 {
			t.Errorf("%s: no difference was found", name)
		}
	}
}
