package pgsync

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// ProofFormat is the form of a Proof.
const ProofFormat = "firemode-mirror-proof-1"

// ErrProof says that a proof proves nothing. It is not said how far it was right.
var ErrProof = errors.New("this is no proof, or not as it was made")

// A Proof shows, without any database, that a row with exactly these values was in a sealed run. Every field of it is
// bound to Root, which is to be compared with the root that the reader holds. Sealed values are ciphertext.
type Proof struct {
	Format     string      `json:"format"`
	Root       string      `json:"root"` // of the run, for both sides
	SourceID   string      `json:"source_id"`
	Epoch      int64       `json:"epoch"`
	Seq        int64       `json:"seq"` // position in the log that the run compared
	Run        string      `json:"run"`
	Table      string      `json:"table"`
	Collection string      `json:"collection"`
	ID         string      `json:"id"`
	Cells      []ProofCell `json:"cells"` // in the order of their fields
	RowIndex   int64       `json:"row_index"`
	Rows       int64       `json:"rows"`     // of the table
	RowPath    []string    `json:"row_path"` // from the row's leaf to the root of the table
	TableIndex int64       `json:"table_index"`
	Tables     int64       `json:"tables"`
	TablePath  []string    `json:"table_path"` // from the table's leaf to the root of the tables
}

// ProofCell is one value of a row.
type ProofCell struct {
	Field  string  `json:"field"` // id of the field
	Kind   Kind    `json:"kind"`
	Column string  `json:"column"`
	Value  *string `json:"value"` // canonical form; null is NULL
}

// Encode is the one form of a proof as a file.
func (p Proof) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		return nil, fmt.Errorf("encode proof: %w", err)
	}
	return b.Bytes(), nil
}

// CheckProof returns the proof that data is, as Encode wrote it, when it leads to its root; else ErrProof. A file that
// differs in a single byte is refused, also where the byte means nothing.
func CheckProof(data []byte) (Proof, error) {
	var p Proof
	if json.Unmarshal(data, &p) != nil {
		return Proof{}, ErrProof
	}
	again, err := p.Encode()
	if err != nil || !bytes.Equal(again, data) {
		return Proof{}, ErrProof
	}
	return p, p.verify()
}

// verify follows the row to the root.
func (p Proof) verify() error {
	if p.Format != ProofFormat || p.RowIndex < 0 || p.Rows <= p.RowIndex || p.TableIndex < 0 || p.Tables <= p.TableIndex {
		return ErrProof
	}
	row := appendField(nil, 'T', p.Collection)
	var shape []byte
	for _, c := range p.Cells {
		if strings.Contains(string(c.Kind), ":") {
			return ErrProof // the colon between field and kind is the last one
		}
		row = appendField(row, 'F', c.Field+":"+string(c.Kind))
		shape = appendField(appendField(shape, 'F', c.Field+":"+string(c.Kind)), 'A', c.Column)
		if c.Value == nil {
			row = appendField(row, 'N', "")
		} else {
			row = appendField(row, 'V', *c.Value)
		}
	}
	rowHash, shapeDigest := sha256.Sum256(row), sha256.Sum256(shape)
	tableRoot, err := follow(p.RowIndex, p.Rows, appendRowLeaf(nil, p.ID, rowHash[:]), p.RowPath)
	if err != nil {
		return err
	}
	table := tableSum{p.Collection, p.Table, shapeDigest[:], p.Rows, tableRoot}
	tablesRoot, err := follow(p.TableIndex, p.Tables, table.leaf(), p.TablePath)
	if err != nil {
		return err
	}
	root := treeHead{p.SourceID, p.Epoch, p.Seq, p.Run}.root(p.Tables, tablesRoot)
	if hex.EncodeToString(root) != p.Root {
		return ErrProof
	}
	return nil
}

// follow is the root that a leaf and its siblings lead to.
func follow(index, size int64, leaf []byte, path []string) ([]byte, error) {
	hashes := make([][]byte, len(path))
	for i, text := range path {
		h, err := hex.DecodeString(text)
		if err != nil || len(h) != sha256.Size || hex.EncodeToString(h) != text {
			return nil, ErrProof
		}
		hashes[i] = h
	}
	root, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, uint64(index), uint64(size), leafHash(leaf), hashes)
	if err != nil {
		return nil, ErrProof
	}
	return root, nil
}
