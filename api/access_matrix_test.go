//go:build !race

package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The access matrix: every cell of collections.AccessTable, asked through every
// door, over HTTP. The table of restricted superusers has tests like these in
// package adminui; that no plain sealed value reaches the mirror is tested in
// pgsync and by the CHECKs in data_model.md. A CSV or another export does not
// exist; as an operation of /v1 it would need a row to pass checkOperations.

// readPaths are the ways to see a record. absent says why a collection lacks one.
var readPaths = []struct {
	name   string
	check  func(*census, person, *core.Collection)
	absent func(*census, *core.Collection) string
}{
	{"list", (*census).checkList, everywhere},
	{"view", (*census).checkView, everywhere},
	{"filter", (*census).checkFilter, func(c *census, collection *core.Collection) string {
		if len(relations(collection))+len(hiddenFields(collection)) == 0 {
			return "no relation and no hidden field to ask about"
		}
		return ""
	}},
	{"sort", (*census).checkSort, func(c *census, collection *core.Collection) string {
		if len(relations(collection))+len(hiddenFields(collection)) == 0 {
			return "no relation and no hidden field to sort by"
		}
		return ""
	}},
	{"expand", (*census).checkExpand, func(c *census, collection *core.Collection) string {
		if len(c.expandable(collection)) == 0 {
			return "no relation from it or to it"
		}
		return ""
	}},
	{"back-relation", (*census).checkBackRelation, func(c *census, collection *core.Collection) string {
		for step := range c.expandable(collection) {
			if strings.Contains(step, "_via_") {
				return ""
			}
		}
		return "no relation to it"
	}},
	{"file", (*census).checkFile, func(_ *census, collection *core.Collection) string {
		if len(fileFields(collection)) == 0 {
			return "no file field"
		}
		return ""
	}},
	{"/v1", (*census).checkV1, func(c *census, collection *core.Collection) string {
		for _, op := range c.operations() {
			if _, path, _ := strings.Cut(op, " "); v1Of(path) == collection.Name {
				return ""
			}
		}
		return "no operation shows its records"
	}},
}

func everywhere(*census, *core.Collection) string { return "" }

func hiddenFields(collection *core.Collection) (out []core.Field) {
	for _, f := range collection.Fields {
		if f.GetHidden() {
			out = append(out, f)
		}
	}
	return out
}

// The read paths run side by side in one world, which none of them changes.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	c := newCensus(t)
	c.checkCells()
	c.checkOperations(c.operations())
	before := c.digest()
	t.Run("reads", func(t *testing.T) {
		for n, path := range readPaths {
			t.Run(path.name, func(t *testing.T) {
				t.Parallel()
				c := c.fork(t, n+1)
				for _, collection := range c.all {
					asked := c.requests
					for _, p := range c.persons {
						path.check(c, p, collection)
					}
					if why := path.absent(c, collection); (why == "") != (c.requests > asked) {
						t.Errorf("%s: %d requests, though %q", collection.Name, c.requests-asked, why)
					}
				}
				c.fail()
			})
		}
	})
	c.checkUnchanged(before)
	c.checkRealtime()
	c.checkRefused(c.persons, c.all)
	done := c.checkAdmitted()
	for _, row := range collections.AccessTable() {
		for role, may := range row.ByRole {
			for method, scope := range map[string]collections.Scope{http.MethodPost: may.Create, http.MethodPatch: may.Update, http.MethodDelete: may.Delete} {
				if (scope != collections.ScopeNone) != (done[role+" "+method+" "+row.Collection] > 0) {
					t.Errorf("%s %s %s: done %d times, the table says %s", role, method, row.Collection, done[role+" "+method+" "+row.Collection], scope)
				}
			}
		}
	}
	c.fail()
}

// checkCells reports cells that the world does not tell apart from others: each
// needs a record inside and one outside of its scope.
func (c *census) checkCells() {
	for _, collection := range c.all {
		for _, p := range c.persons {
			if !slices.Contains(collections.Roles(), p.name) {
				continue
			}
			scope := c.cell(p, collection.Name).View
			if shown := len(c.visible(p, collection.Name)); (shown > 0) != (scope != collections.ScopeNone) {
				c.report("%s, %s: the table says %s, and %d records are inside", collection.Name, p.name, scope, shown)
			}
			if len(c.hidden(p, collection.Name)) == 0 && scope != collections.ScopeAll {
				c.report("%s, %s: no record is outside of %s", collection.Name, p.name, scope)
			}
		}
	}
}

// fail reports what was found, the first of it in full.
func (c *census) fail() {
	c.t.Helper()
	for i, finding := range c.found {
		if i == 20 {
			c.t.Fatalf("and %d more", len(c.found)-i)
		}
		c.t.Error(finding)
	}
}
