package pgsync

import (
	"slices"

	"firemode/collections"
)

// Source says what of the SQLite database is mirrored.
type Source struct {
	Collections []string     // names of PocketBase collections
	Tables      []PlainTable // SQLite tables that are no collections
}

// PlainTable is a SQLite table that is no collection. Rows are only ever added or updated, never deleted.
type PlainTable struct {
	Name    string
	Key     []string // primary key columns, integers or text; joined by "/" they are the mirror's text id
	Columns []Column // what is mirrored beside the id; Field may be left empty
	// Appended is set when rows come in runs. It MUST NOT change while entries of the log wait.
	Appended *Appended
}

// Mirrored is FireMode's own Source: the mirrored collections and the operation log with the names it refers to.
func Mirrored() Source {
	return Source{
		Collections: collections.Mirrored(),
		Tables: []PlainTable{
			{Name: collections.TableCRDTDocs, Key: []string{"id"}, Columns: []Column{{Name: "key", Kind: KindText}}},
			{Name: collections.TableCRDTActors, Key: []string{"id"}, Columns: []Column{
				{Name: "key", Kind: KindText}, {Name: "user", Kind: KindText}, {Name: "device", Kind: KindText},
				{Name: "revoked", Kind: KindInteger},
			}},
			{Name: collections.TableCRDTConflicts, Key: []string{"id"}, Columns: []Column{
				{Name: "doc", Kind: KindRelation, Target: collections.TableCRDTDocs},
				{Name: "path", Kind: KindText}, {Name: "policy", Kind: KindText}, {Name: "value_count", Kind: KindInteger},
				{Name: "opened_at", Kind: KindInteger}, {Name: "changed_at", Kind: KindInteger}, {Name: "resolved_at", Kind: KindInteger},
			}},
			{Name: collections.TableCRDTOps, Key: []string{"doc", "n"}, Columns: []Column{
				{Name: "doc", Kind: KindRelation, Target: collections.TableCRDTDocs},
				{Name: "n", Kind: KindInteger},
				{Name: "actor", Kind: KindRelation, Target: collections.TableCRDTActors},
				{Name: "seq", Kind: KindInteger}, {Name: "recv", Kind: KindInteger}, {Name: "q", Kind: KindInteger},
				{Name: "hash", Kind: KindBytes},
				{Name: "line", Kind: KindText}, // exact bytes: jsonb would break the hash over it
			}, Appended: &Appended{Heads: collections.TableCRDTHeads, Group: []string{"doc", "actor"}, Number: "seq"}},
		},
	}
}

func (s Source) hasTable(name string) bool {
	return slices.ContainsFunc(s.Tables, func(t PlainTable) bool { return t.Name == name })
}

func (s Source) hasCollection(name string) bool { return slices.Contains(s.Collections, name) }
