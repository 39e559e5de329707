package pgsync

import (
	"crypto/sha256"
	"strconv"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

// A comparison ends in one root per side. The rows of a table, in the order of their ids, are the leaves of an RFC 6962
// tree; the tables, in the order of their collection ids, are the leaves of a second one; the root is a hash over the
// root of that and over what it speaks of: which source, where in its log, in which run. data_model.md has the exact form.

// treeFormat is the first field of every root, so that a later form can never be read as an earlier one.
const treeFormat = "firemode-mirror-1"

// rootPrefix tells a root from a leaf (0) and a node (1).
const rootPrefix = 2

var rangeFactory = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// tree is an RFC 6962 tree that grows leaf by leaf and holds the logarithm of its size.
type tree struct {
	nodes *compact.Range
	visit compact.VisitFn // nil, or told of every node of a full subtree
}

func newTree() *tree { return &tree{nodes: rangeFactory.NewEmptyRange(0)} }

func (t *tree) add(leaf []byte) {
	if err := t.nodes.Append(leafHash(leaf), t.visit); err != nil {
		panic("pgsync: internal error: grow tree: " + err.Error()) // a range that only grows by leaves fits itself
	}
}

func (t *tree) size() int64 { return int64(t.nodes.End()) }

func (t *tree) root() []byte {
	if t.size() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot()
	}
	root, err := t.nodes.GetRootHash(nil)
	if err != nil {
		panic("pgsync: internal error: root of tree: " + err.Error()) // it begins at leaf 0
	}
	return root
}

func leafHash(leaf []byte) []byte { return rfc6962.DefaultHasher.HashLeaf(leaf) }

// appendRowLeaf appends what the leaf of a row is the hash of.
func appendRowLeaf(dst []byte, pk string, hash []byte) []byte {
	return append(appendField(dst, 'K', pk), hash...)
}

// tableSum is what the leaf of a table says.
type tableSum struct {
	Coll  string
	Name  string
	Shape []byte // of the columns: see shapeDigest
	Rows  int64
	Root  []byte
}

func (s tableSum) leaf() []byte {
	b := appendField(nil, 'T', s.Coll)
	b = appendField(b, 'A', s.Name)
	b = appendField(b, 'D', s.Shape)
	b = appendField(b, 'S', strconv.FormatInt(s.Rows, 10))
	return appendField(b, 'R', s.Root)
}

// shapeDigest is SHA-256 over the columns in the order of the canonical form: field and kind, then the name.
func (t *Table) shapeDigest() []byte {
	var b []byte
	f := t.form()
	for n, i := range f.order {
		b = appendField(append(b, f.columns[n]...), 'A', t.Columns[i].Name)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// treeHead is what a root speaks of.
type treeHead struct {
	SourceID string
	Epoch    int64
	Seq      int64
	Run      string
}

// root binds the root over all tables, and how many they are, to the head.
func (h treeHead) root(tables int64, tablesRoot []byte) []byte {
	b := appendField([]byte{rootPrefix}, 'H', treeFormat)
	b = appendField(b, 'O', h.SourceID)
	b = appendField(b, 'E', strconv.FormatInt(h.Epoch, 10))
	b = appendField(b, 'P', strconv.FormatInt(h.Seq, 10))
	b = appendField(b, 'U', h.Run)
	b = appendField(b, 'S', strconv.FormatInt(tables, 10))
	b = appendField(b, 'R', tablesRoot)
	sum := sha256.Sum256(b)
	return sum[:]
}

// rootOf is the root of one side; sums MUST be in the order of their collection ids.
func (h treeHead) rootOf(sums []tableSum) []byte {
	t := newTree()
	for _, s := range sums {
		t.add(s.leaf())
	}
	return h.root(t.size(), t.root())
}
