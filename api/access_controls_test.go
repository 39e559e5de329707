//go:build !race

package api_test

import (
	"slices"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The controls of the access matrix: each weakens one rule, and the check of one
// path must find it.

func TestAccessMatrixFindsLeaks(t *testing.T) {
	t.Parallel()
	c := newCensus(t)
	c.fail()
	open := ""
	openList := func(collection *core.Collection) { collection.ListRule = &open }
	openView := func(collection *core.Collection) { collection.ViewRule = &open }
	signedIn := `@request.auth.id != ""`
	for _, control := range []struct {
		name     string
		weakened string
		weaken   func(*core.Collection)
		asked    string // collection that the check looks at; empty: the weakened one
		check    func(*census, person, *core.Collection)
	}{
		{"everybody hears", collections.Defects, openList, "", nil},
		{"everybody lists", collections.Buildings, openList, "", (*census).checkList},
		{"everybody views", collections.Buildings, openView, "", (*census).checkView},
		{"everybody views, by /v1", collections.Buildings, openView, "", (*census).checkV1},
		{"everybody lists, by /v1", collections.TestSessions, openList, "", (*census).checkV1},
		{"a filter finds hidden people", collections.Users, openList, collections.TestSessions, (*census).checkFilter},
		{"a sort follows hidden people", collections.Users, openList, collections.TestSessions, (*census).checkSort},
		{"an expand shows hidden people", collections.Users, openView, collections.TestSessions, (*census).checkExpand},
		{"an expand leads back", collections.BuildingGrants, openView, collections.Buildings, (*census).checkExpand},
		{"staff of every organisation", collections.Defects, func(collection *core.Collection) {
			replaceIn(t, collection, "building_id.organisation_id = @request.auth.organisation_id", `id != ""`)
		}, "", (*census).checkList},
		{"grants that have ended", collections.Evidence, func(collection *core.Collection) {
			replaceIn(t, collection, "ends_at ?> @now", `ends_at ?!= ""`)
		}, "", (*census).checkList},
		{"grants that have not begun", collections.Buildings, func(collection *core.Collection) {
			replaceIn(t, collection, "starts_at ?<= @now", `starts_at ?!= ""`)
		}, "", (*census).checkList},
		{"grants of others", collections.Buildings, func(collection *core.Collection) {
			replaceIn(t, collection, "user_id ?= @request.auth.id", `user_id ?!= ""`)
		}, "", (*census).checkList},
		{"rules that are not in force", collections.Rules, func(collection *core.Collection) {
			replaceIn(t, collection, "is_active = true ||", `id != "" ||`)
		}, "", (*census).checkList},
		{"a secret can be asked for", collections.Users, func(collection *core.Collection) {
			collection.Fields.GetByName(collections.FieldPhoneIndex).SetHidden(false)
		}, "", unhidden(collections.FieldPhoneIndex)},
		{"files for everybody", collections.Evidence, func(collection *core.Collection) {
			collection.Fields.GetByName(collections.FieldFile).(*core.FileField).Protected = false
		}, "", (*census).checkFile},
		{"somebody else's account", collections.Users, func(collection *core.Collection) { collection.UpdateRule = &signedIn }, "", refusedAlone},
		{"a role of one's choice", collections.Users, func(collection *core.Collection) {
			own := `id = @request.auth.id`
			collection.UpdateRule = &own
		}, "", refusedAlone},
		{"buildings in any organisation", collections.Buildings, func(collection *core.Collection) { collection.CreateRule = &signedIn }, "", refusedAlone},
		{"sign-ins of others", core.CollectionNameAuthOrigins, func(collection *core.Collection) { collection.DeleteRule = &signedIn }, "", refusedAlone},
	} {
		restore := c.weaken(control.weakened, control.weaken)
		asked := control.asked
		if asked == "" {
			asked = control.weakened
		}
		if control.check == nil {
			c.checkRealtime()
		} else {
			for _, p := range c.persons {
				if len(c.found) == 0 {
					control.check(c, p, c.named(asked))
				}
			}
		}
		if len(c.found) == 0 {
			t.Errorf("%s: not found", control.name)
		}
		restore()
		if c.found = nil; c.wrote {
			c.count()
			c.wrote = false
		}
	}

	c.checkOperations(append(c.operations(), "GET /v1/buildings.csv"))
	if len(c.found) != 1 {
		t.Errorf("an operation more: got findings %q, want one", c.found)
	}
	c.found = nil
	clear(c.shown)
	c.checkCells()
	if len(c.found) == 0 {
		t.Error("cells without records: not found")
	}
}

// unhidden asks as though the field were hidden still.
func unhidden(field string) func(*census, person, *core.Collection) {
	return func(c *census, p person, collection *core.Collection) {
		c.refused(p, collection, "filter", field+`!=""`)
	}
}

// refusedAlone sends the writes of one person on one collection.
func refusedAlone(c *census, p person, collection *core.Collection) {
	c.checkRefused([]person{p}, []*core.Collection{collection})
}

// replaceIn changes part of the rules to read.
func replaceIn(t *testing.T, collection *core.Collection, old, with string) {
	t.Helper()
	rule := strings.ReplaceAll(*collection.ListRule, old, with)
	if rule == *collection.ListRule {
		t.Fatalf("the rule of %s has no %q: the control tests nothing", collection.Name, old)
	}
	collection.ListRule, collection.ViewRule = &rule, &rule
}

// weaken changes a collection; restore puts it back.
func (c *census) weaken(name string, change func(*core.Collection)) (restore func()) {
	c.t.Helper()
	put := func(change func(*core.Collection)) {
		c.t.Helper()
		collection, err := c.app.FindCollectionByNameOrId(name)
		if err != nil {
			c.t.Fatal(err)
		}
		change(collection)
		if err := c.app.SaveNoValidate(collection); err != nil {
			c.t.Fatalf("weaken %s: %v", name, err)
		}
	}
	before := c.named(name)
	put(change)
	return func() {
		c.t.Helper()
		put(func(collection *core.Collection) {
			collection.ListRule, collection.ViewRule, collection.CreateRule = before.ListRule, before.ViewRule, before.CreateRule
			collection.UpdateRule, collection.DeleteRule, collection.Fields = before.UpdateRule, before.DeleteRule, before.Fields
		})
	}
}

func (c *census) named(name string) *core.Collection {
	c.t.Helper()
	i := slices.IndexFunc(c.all, func(collection *core.Collection) bool { return collection.Name == name })
	if i < 0 {
		c.t.Fatalf("no collection %s", name)
	}
	return c.all[i]
}
