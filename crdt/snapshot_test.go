package crdt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
)

// TestSnapshotInTheMiddle saves and loads the document between any two events: what follows
// has to have the same effect, also on what quarantine and reissue still depend on.
func TestSnapshotInTheMiddle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(120) {
		h := play(seeded(seed), 50)
		events := shuffled(h.events, seeded(seed+1e6))
		d, plain := New(), New()
		for _, e := range events {
			if err := errors.Join(tell(d, e), tell(plain, e)); err != nil && !early(err) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			d = reload(t, d)
		}
		if err := errors.Join(deliver(d, h.events), deliver(plain, h.events)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, want := string(d.Text()), h.spec().text(); got != want {
			t.Fatalf("seed %d: got\n%swant\n%s", seed, got, want)
		}
		if err := checkDoc(d); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		// Nothing kept behind the scenes may depend on the order of arrival either.
		straight := New()
		if err := deliver(straight, h.events); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(straight.AppendSnapshot(nil), plain.AppendSnapshot(nil)) {
			t.Fatalf("seed %d: snapshots of one set differ", seed)
		}
	}
}

func reload(t testing.TB, d *Doc) *Doc {
	t.Helper()
	raw := d.AppendSnapshot([]byte("x"))[1:]
	loaded, err := LoadSnapshot(raw)
	if err != nil {
		t.Fatal(err)
	}
	if again := loaded.AppendSnapshot(nil); !bytes.Equal(again, raw) {
		t.Fatalf("snapshot not stable:\n%q\n%q", raw, again)
	}
	return loaded
}

func TestSnapshotRefusesDamage(t *testing.T) {
	t.Parallel()
	raw := build(t, mixedLines...).AppendSnapshot(nil)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if _, err := LoadSnapshot(bad); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d changed: got %v, want ErrSnapshot", i, err)
		}
		if _, err := LoadSnapshot(raw[:i]); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut at %d: got %v, want ErrSnapshot", i, err)
		}
	}
}

// FuzzSnapshot repairs the checksum of what the fuzzer makes, so that it reaches the reader.
func FuzzSnapshot(f *testing.F) {
	for seed := range uint64(4) {
		d := New()
		if err := deliver(d, play(seeded(seed), 40).events); err != nil {
			f.Fatal(err)
		}
		raw := d.AppendSnapshot(nil)
		f.Add(raw[len(snapshotMagic) : len(raw)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		raw := append([]byte(snapshotMagic), body...)
		sum := sha256.Sum256(raw)
		d, err := LoadSnapshot(append(raw, sum[:]...))
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatalf("got %v, want ErrSnapshot", err)
			}
			return
		}
		d.Text()
		d.Materialise(MustTestSession())
		for _, dot := range d.Quarantined() {
			if _, err := d.Admit(dot); err != nil {
				t.Fatal(err)
			}
		}
		d.AppendSnapshot(nil)
	})
}
