package crdt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// spec is the meaning of a document as the package comment states it, read off the SET of
// operations with no order of arrival anywhere. It is slow, shares no code with Doc beyond
// the line encoding, and stays as it is while Doc is optimised.
//
// The fields are faults put in on purpose: a checker that compares with a faulty spec and
// finds no difference checks nothing.
type spec struct {
	ops         map[Dot]*Op
	quarantined map[Dot]bool
	redacted    map[Dot]bool

	lastWriterWins     bool // R4 broken: only the entry that sorts first survives
	seenIgnored        bool // R4 broken: nothing is ever replaced
	seenAcrossPaths    bool // R4 broken: a dot is replaced wherever it is named
	remLeavesList      bool // R6 broken: rem does not hide elements
	putHidesElement    bool // R6 broken: put hides elements
	childrenHide       bool // R6 broken: hidden elements take their children along
	listFlat           bool // R6 broken: every element hangs below the root
	earlierFirst       bool // R7 broken: the earlier time first
	smallerActorFirst  bool // R7 broken: the smaller actor first
	kindsShareCells    bool // R8 broken: an insertion is a value of the cell
	quarantineIgnored  bool // R9 broken: quarantined operations have effect
	quarantinedReplace bool // R9 broken: quarantined operations replace values
	claimsAllCount     bool // R12 broken: every operation counts
	claimOverOriginal  bool // R12 broken: claims count although the original is there
	greatestClaim      bool // R12 broken: the greatest claim counts
	actsIgnored        bool // R12 broken: claims of one origin need not say the same
	valuesStay         bool // R13 broken: a redacted value stays
	redactedVanish     bool // R13 broken: a redacted operation loses its effect too
}

func hash128(o *Op) string {
	sum := sha256.Sum256(o.AppendJSON(nil))
	return hex.EncodeToString(sum[:16])
}

// counts is R9 and R12.
func (s *spec) counts(o *Op) bool {
	if s.quarantined[o.Dot] && !s.quarantineIgnored || s.redactedVanish && s.redacted[o.Dot] {
		return false
	}
	if o.Origin == "" || s.claimsAllCount {
		return true
	}
	for _, other := range s.ops {
		if s.quarantined[other.Dot] && !s.quarantineIgnored {
			continue
		}
		if hash128(other) == o.Origin && !s.claimOverOriginal {
			return false
		}
		same := other.Kind == o.Kind && other.Path == o.Path && other.Val == o.Val && other.N == o.N
		if other.Origin == o.Origin && (same || s.actsIgnored) {
			if c := other.Dot.Compare(o.Dot); c < 0 && !s.greatestClaim || c > 0 && s.greatestClaim {
				return false
			}
		}
	}
	return true
}

// value is R13.
func (s *spec) value(o *Op) string {
	if !s.redacted[o.Dot] || s.valuesStay {
		return o.Val
	}
	sum := sha256.Sum256([]byte(o.Val))
	return fmt.Sprintf(`{"$redacted":"%x"}`, sum[:16])
}

// before is R7.
func (s *spec) before(a, b *Op) int {
	switch {
	case a.Time != b.Time:
		if (a.Time > b.Time) != s.earlierFirst {
			return -1
		}
		return 1
	case a.Actor != b.Actor:
		if (a.Actor > b.Actor) != s.smallerActorFirst {
			return -1
		}
		return 1
	case a.Seq > b.Seq:
		return -1
	case a.Seq < b.Seq:
		return 1
	}
	return 0
}

type named struct {
	path string
	dot  Dot
}

// text renders the document as Doc.Text does.
func (s *spec) text() string {
	cells, lists := map[string][]*Op{}, map[string][]*Op{}
	counters, version := map[string]int64{}, map[string]uint64{}
	byAny, byRem := map[named]bool{}, map[named]bool{}
	for dot, o := range s.ops {
		version[dot.Actor] = max(version[dot.Actor], dot.Seq)
		if !s.counts(o) && !(s.quarantinedReplace && s.quarantined[dot]) {
			continue
		}
		for _, x := range o.Seen {
			n := named{o.Path, x}
			if s.seenAcrossPaths {
				n.path = ""
			}
			byAny[n] = true
			if o.Kind == Rem || s.putHidesElement {
				byRem[n] = true
			}
		}
	}
	replaced := func(by map[named]bool, o *Op) bool {
		n := named{o.Path, o.Dot}
		if s.seenAcrossPaths {
			n.path = ""
		}
		return by[n]
	}
	for _, o := range s.ops {
		switch {
		case !s.counts(o):
		case o.Kind == Put:
			if s.seenIgnored || !replaced(byAny, o) {
				cells[o.Path] = append(cells[o.Path], o)
			}
		case o.Kind == Inc:
			counters[o.Path] += o.N
		case o.Kind == Ins && s.kindsShareCells:
			cells[o.Path] = append(cells[o.Path], o)
		case o.Kind == Ins:
			lists[o.Path] = append(lists[o.Path], o)
		}
	}
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(cells)) {
		c := cells[path]
		slices.SortFunc(c, s.before)
		if s.lastWriterWins {
			c = c[:1]
		}
		for _, o := range c {
			fmt.Fprintf(&b, "c %s %s %s\n", path, o.Dot, s.value(o))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(counters)) {
		fmt.Fprintf(&b, "n %s %d\n", path, counters[path])
	}
	for _, path := range slices.Sorted(maps.Keys(lists)) {
		in := map[Dot]bool{}
		for _, o := range lists[path] {
			in[o.Dot] = true
		}
		children := map[Dot][]*Op{}
		for _, o := range lists[path] {
			parent := o.Ref
			if !in[parent] || s.listFlat {
				parent = Dot{}
			}
			children[parent] = append(children[parent], o)
		}
		var walk func(Dot)
		walk = func(parent Dot) {
			slices.SortFunc(children[parent], s.before)
			for _, o := range children[parent] {
				hidden := replaced(byRem, o) && !s.remLeavesList
				if !hidden {
					fmt.Fprintf(&b, "l %s %s %s\n", path, o.Dot, s.value(o))
				}
				if !hidden || !s.childrenHide {
					walk(o.Dot)
				}
			}
		}
		walk(Dot{})
	}
	for _, dot := range slices.SortedFunc(maps.Keys(s.quarantined), Dot.Compare) {
		fmt.Fprintf(&b, "q %s\n", dot)
	}
	for _, name := range slices.Sorted(maps.Keys(version)) {
		fmt.Fprintf(&b, "v %s %d\n", name, version[name])
	}
	return b.String()
}
