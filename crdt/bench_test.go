package crdt

import (
	"fmt"
	"runtime"
	"testing"
)

// mulberry is the generator of workload W1, the same in every language it is run in.
func mulberry(seed uint32) func() uint32 {
	a := seed
	return func() uint32 {
		a += 0x6D2B79F5
		t := (a ^ a>>15) * (1 | a)
		t = (t + (t^t>>7)*(61|t)) ^ t
		return t ^ t>>14
	}
}

// w1 returns the lines of workload W1: actors that each write puts single values on keys
// paths, none having seen another; one slice per actor.
func w1(tb testing.TB, actors, puts, keys int) [][][]byte {
	tb.Helper()
	all := make([][][]byte, actors)
	for a := range actors {
		next := mulberry(uint32(0x5eed + a))
		d := New()
		for s := 1; s <= puts; s++ {
			path := fmt.Sprintf("items/i%06d", next()%uint32(keys))
			o := Op{Dot: Dot{fmt.Sprintf("d%07x", a), uint64(s)}, Time: NewTime(uint64(0x0199a3f2b1c4+s), uint16(a&0xff)),
				Kind: Put, Path: path, Val: fmt.Sprintf(`"pass-%d-%d"`, a, s), Seen: d.Covered(path, d.Version())}
			line, parsed, err := o.Encode()
			if err != nil {
				tb.Fatal(err)
			}
			if _, err := d.Apply(&parsed); err != nil {
				tb.Fatal(err)
			}
			all[a] = append(all[a], line)
		}
	}
	return all
}

func replay(tb testing.TB, d *Doc, batches [][][]byte) (ops int) {
	for _, batch := range batches {
		for _, line := range batch {
			o, err := ParseOp(line)
			if err != nil {
				tb.Fatal(err)
			}
			if _, err := d.Apply(&o); err != nil {
				tb.Fatal(err)
			}
			ops++
		}
	}
	return ops
}

// TestW1KeepsAll is the independent check of R4 on the benchmark's own load: 97,516 values
// are live in every implementation that keeps concurrent values.
func TestW1KeepsAll(t *testing.T) {
	t.Parallel()
	d := New()
	if got := replay(t, d, w1(t, 1000, 100, 2000)); got != 100_000 || d.Live() != 97_516 {
		t.Errorf("got %d live values of %d operations, want 97516 of 100000", d.Live(), got)
	}
}

// BenchmarkWireToState is W1 from bytes to state: parse, chain, apply.
func BenchmarkWireToState(b *testing.B) {
	for _, actors := range []int{10, 100, 1000} {
		batches := w1(b, actors, 100, 2000)
		b.Run(fmt.Sprintf("ops=%d", actors*100), func(b *testing.B) {
			b.ReportAllocs()
			ops := 0
			for b.Loop() {
				d := New()
				for _, batch := range batches {
					var link [32]byte
					for _, line := range batch {
						o, err := ParseOp(line)
						if err != nil {
							b.Fatal(err)
						}
						link = ChainSum(link, o.Sum())
						if _, err := d.Apply(&o); err != nil {
							b.Fatal(err)
						}
						ops++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(ops), "ns/op-applied")
		})
	}
}

// BenchmarkApplyPut replaces one value again and again in documents of different sizes: the
// cost must not grow with the document, and nothing is allocated but the log of prints.
func BenchmarkApplyPut(b *testing.B) {
	for _, size := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("live=%d", size), func(b *testing.B) {
			d := filled(b, size)
			ops := make([]Op, 1000)
			for i := range ops {
				ops[i] = Op{Kind: Put, Path: fmt.Sprintf("items/x%03d/result", i%100), Val: `"pass"`, parsed: true}
				ops[i].Actor = "writer"
			}
			var seq uint64
			b.ReportAllocs()
			for b.Loop() {
				o := &ops[seq%1000]
				seq++
				o.Seq = seq
				if seq > 100 {
					o.Seen = append(o.Seen[:0], Dot{"writer", seq - 100})
				}
				if applied, err := d.Apply(o); !applied || err != nil {
					b.Fatal(applied, err)
				}
			}
		})
	}
}

// filled returns a document with size live values on as many paths.
func filled(tb testing.TB, size int) *Doc {
	tb.Helper()
	d := New()
	for i := range size {
		o := Op{Dot: Dot{fmt.Sprintf("f%03d", i%1000), uint64(i/1000 + 1)}, Time: NewTime(uint64(i), 0), Kind: Put,
			Path: fmt.Sprintf("items/FE-%06d/result", i), Val: `"pass"`}
		if _, err := d.Apply(&o); err != nil {
			tb.Fatal(err)
		}
	}
	return d
}

func BenchmarkParseOp(b *testing.B) {
	for name, line := range map[string]string{
		"put":   goodLines[1],
		"inc":   goodLines[14],
		"value": `{"a":"d1","k":"put","p":"items/a","s":1,"t":"0199a3f2b1c4-0000","v":{"q":{"$num":"12.50"},"u":"kPa"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				if _, err := ParseOp([]byte(line)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCanonicalJSON(b *testing.B) {
	raw := []byte(`{"u": "kPa", "q": 12.50, "readings": [1, 2, 3], "by": "Zoë"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CanonicalJSON(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMaterialise(b *testing.B) {
	schema := MustTestSession()
	for _, size := range []int{10, 1000, 100_000} {
		d := filled(b, size)
		b.Run(fmt.Sprintf("live=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(len(d.Materialise(schema))))
			}
		})
	}
}

func BenchmarkDigest(b *testing.B) {
	d := filled(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		d.Digest()
	}
}

// BenchmarkLoadSnapshot opens a W1 document of 100,000 operations.
func BenchmarkLoadSnapshot(b *testing.B) {
	d := New()
	replay(b, d, w1(b, 1000, 100, 2000))
	raw := d.AppendSnapshot(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := LoadSnapshot(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHeap reports the memory of a W1 document per live value.
func BenchmarkHeap(b *testing.B) {
	batches := w1(b, 1000, 100, 2000)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		d := New()
		replay(b, d, batches)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(d.Live()), "B/value")
		runtime.KeepAlive(d)
	}
}
