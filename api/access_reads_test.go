//go:build !race

package api_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The read paths of the record API. Each asks one collection as one person and
// reports where the answer is not what the oracle says.

// listed is an answer of a list: its status and the ids in their order.
type listed struct {
	status int
	ids    []string
	items  []shownRecord
}

// A shownRecord is a record in an answer.
type shownRecord map[string]any

func (r shownRecord) text(name string) string { s, _ := r[name].(string); return s }

func recordsOf(collection *core.Collection) string {
	return "/api/collections/" + collection.Name + "/records"
}

func (c *census) list(p person, collection *core.Collection, query url.Values) listed {
	c.t.Helper()
	query.Set("perPage", "1000")
	path := recordsOf(collection) + "?" + query.Encode()
	a := c.ask(p, http.MethodGet, path, nil)
	l := listed{status: a.status}
	var page struct {
		TotalItems int
		Items      []shownRecord
	}
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &page); err != nil {
			c.t.Fatal(err)
		}
		if page.TotalItems != len(page.Items) {
			c.report("%s GET %s: counts %d and shows %d", p.name, path, page.TotalItems, len(page.Items))
		}
	}
	for _, item := range page.Items {
		l.ids, l.items = append(l.ids, item.text("id")), append(l.items, item)
	}
	return l
}

// wantIDs reports unless a list shows exactly these, in this order. Whoever
// sees something gets a page; others may be refused.
func (c *census) wantIDs(p person, collection *core.Collection, query url.Values, want []string) {
	c.t.Helper()
	got := c.list(p, collection, query)
	if !slices.Equal(got.ids, want) || len(want) > 0 && got.status != http.StatusOK {
		c.report("%s lists %s with %v: got %d and %d records, want %d", p.name, collection.Name, query, got.status, len(got.ids), len(want))
	}
}

func (c *census) checkList(p person, collection *core.Collection) {
	c.wantIDs(p, collection, url.Values{"sort": {"id"}}, ids(c.visible(p, collection.Name)))
}

func (c *census) checkView(p person, collection *core.Collection) {
	for _, r := range slices.Concat(ends(c.visible(p, collection.Name)), ends(c.hidden(p, collection.Name))) {
		want := c.reaches(p, c.cell(p, collection.Name).View, r)
		got := c.ask(p, http.MethodGet, recordsOf(collection)+"/"+r.Id, nil).status
		if (got == http.StatusOK) != want || got < 400 && got != http.StatusOK {
			c.report("%s views %s %s: got %d, want shown=%v", p.name, collection.Name, r.Id, got, want)
		}
	}
}

// checkFilter probes with filters: fields that are hidden, and fields of other
// records one relation away.
func (c *census) checkFilter(p person, collection *core.Collection) {
	shown := c.visible(p, collection.Name)
	for _, f := range collection.Fields {
		switch {
		case f.GetHidden() && p.asksForSecrets():
			c.refused(p, collection, "filter", f.GetName()+`!=""`)
		case f.GetName() == core.FieldNameEmail && collection.IsAuth():
			// Not even one's own, if it is kept from others.
			open := slices.DeleteFunc(slices.Clone(shown), func(r *core.Record) bool { return !r.GetBool(core.FieldNameEmailVisibility) })
			c.wantIDs(p, collection, url.Values{"sort": {"id"}, "filter": {`email!=""`}}, ids(open))
		}
	}
	asked := map[string]bool{}
	for _, f := range relations(collection) {
		if len(shown) == 0 {
			return // filters narrow an empty list
		}
		target := c.collection(f.CollectionId)
		c.tellsNothing(p, collection, f.Name, target)
		if !f.IsMultiple() {
			led := slices.DeleteFunc(slices.Clone(shown), func(r *core.Record) bool { return !c.leadsToShown(p, r, f) })
			c.wantIDs(p, collection, url.Values{"sort": {"id"}, "filter": {f.Name + `.created_at!=""`}}, ids(led))
		}
		for _, hidden := range target.Fields {
			if hidden.GetHidden() && !asked[target.Name] && p.asksForSecrets() {
				c.refused(p, collection, "filter", f.Name+"."+hidden.GetName()+`!=""`)
			}
		}
		asked[target.Name] = true
	}
}

// checkBackRelation expands, filters and sorts by the records that refer to
// those of a collection.
func (c *census) checkBackRelation(p person, collection *core.Collection) {
	if len(c.visible(p, collection.Name)) == 0 {
		return
	}
	for _, from := range c.all {
		for _, f := range relations(from) {
			if f.CollectionId != collection.Id {
				continue
			}
			path := from.Name + "_via_" + f.Name
			c.tellsNothing(p, collection, path, from)
			// Whether somebody else's record refers to this one is nobody's business either.
			for _, query := range []url.Values{{"filter": {path + `.id?=""`}}, {"sort": {path + ".id"}}} {
				got := c.list(p, collection, query)
				for _, r := range c.visible(p, collection.Name) {
					lone := !slices.ContainsFunc(c.visible(p, from.Name), func(x *core.Record) bool { return slices.Contains(x.GetStringSlice(f.Name), r.Id) })
					if got.status == http.StatusOK && lone && !slices.Contains(got.ids, r.Id) {
						c.report("%s lists %s with %v: tells that a hidden %s refers to %s", p.name, collection.Name, query, from.Name, r.Id)
					}
				}
			}
		}
	}
}

// tellsNothing asks for the mark or the id of hidden records at the end of a
// path from records that are shown. The answer is the same as for a value that
// nothing has.
func (c *census) tellsNothing(p person, collection *core.Collection, path string, target *core.Collection) {
	field, values := "id", []string(nil)
	_, by, back := strings.Cut(path, "_via_")
	for _, x := range c.hidden(p, target.Name) {
		if !slices.ContainsFunc(c.visible(p, collection.Name), func(r *core.Record) bool {
			return back && slices.Contains(x.GetStringSlice(by), r.Id) || !back && slices.Contains(r.GetStringSlice(path), x.Id)
		}) {
			continue // the path does not lead there
		}
		if name := markedField(x); name != "" {
			field, values = name, append(values, x.GetString(name))
		} else if back { // the ids that a shown record refers to are shown
			values = append(values, x.Id)
		}
	}
	if len(values) == 0 {
		return
	}
	ask := func(op, value string) listed {
		return c.list(p, collection, url.Values{"sort": {"id"}, "filter": {path + "." + field + op + `"` + value + `"`}})
	}
	if got := ask("=", values[0]); len(got.ids) > 0 {
		c.report("%s lists %s where %s.%s is %q, which they may not see: got %d records", p.name, collection.Name, path, field, values[0], len(got.ids))
		return
	}
	// Where there is one record at most, the other operators say no more.
	for _, op := range []string{"!=", "?=", "?!="} {
		plain := listed{}
		if f, _ := collection.Fields.GetByName(path).(*core.RelationField); back || f.IsMultiple() {
			plain = ask(op, "nowhere")
		}
		if plain.status != http.StatusOK {
			return // no such question is answered
		}
		if got := ask(op, values[0]); !slices.Equal(got.ids, plain.ids) {
			c.report("%s lists %s where %s.%s%s%q: got %d records, and %d where the value does not exist", p.name, collection.Name, path, field, op, values[0], len(got.ids), len(plain.ids))
			return
		}
	}
}

// markedField is a field of a record whose value no other record has, or "".
func markedField(r *core.Record) string {
	for _, f := range r.Collection().Fields {
		if f.Type() == core.FieldTypeText && !f.GetHidden() && len(marksIn([]byte(r.GetString(f.GetName())))) > 0 {
			return f.GetName()
		}
	}
	return ""
}

// checkSort sorts by fields that are hidden and by fields of related records.
func (c *census) checkSort(p person, collection *core.Collection) {
	for _, f := range collection.Fields {
		if f.GetHidden() && p.asksForSecrets() {
			c.refused(p, collection, "sort", f.GetName())
		}
	}
	for _, f := range relations(collection) {
		// PocketBase leaves out what leads to a hidden record, so that its place tells nothing.
		led := slices.DeleteFunc(slices.Clone(c.visible(p, collection.Name)), func(r *core.Record) bool {
			return r.GetString(f.Name) != "" && !c.leadsToShown(p, r, f)
		})
		target := c.collection(f.CollectionId)
		value := func(r *core.Record) string {
			if x := c.byID(target.Name, r.GetString(f.Name)); x != nil {
				return x.GetString(sortField(target))
			}
			return ""
		}
		slices.SortFunc(led, func(a, b *core.Record) int {
			return cmp.Or(strings.Compare(value(b), value(a)), strings.Compare(a.Id, b.Id))
		})
		query := url.Values{"sort": {"-" + f.Name + "." + sortField(target) + ",id"}}
		if !f.IsMultiple() {
			c.wantIDs(p, collection, query, ids(led))
		} else if got := c.list(p, collection, query); got.status == http.StatusOK && len(got.ids) > 0 {
			c.report("%s sorts %s by several records at once: got %d", p.name, collection.Name, got.status)
		}
	}
}

// sortField is a text by which records of a collection differ. The key is none:
// it stands in the record that refers to it.
func sortField(collection *core.Collection) string {
	for _, f := range collection.Fields {
		if f.Type() == core.FieldTypeText && !f.GetHidden() && f.GetName() != core.FieldNameId {
			return f.GetName()
		}
	}
	return core.FieldNameId
}

// asksForSecrets holds for two people: whether a hidden field may be asked for
// depends on the field, not on who asks.
func (p person) asksForSecrets() bool {
	return p.name == collections.RoleManager || p.name == collections.RoleClient
}

// refused reports when a query about a hidden field is answered.
func (c *census) refused(p person, collection *core.Collection, parameter, value string) {
	if got := c.list(p, collection, url.Values{parameter: {value}}); got.status == http.StatusOK && p.record != nil {
		c.report("%s lists %s with %s=%s: got 200, want a refusal", p.name, collection.Name, parameter, value)
	}
}

// leadsToShown says whether a relation of r leads to a record that p may read.
func (c *census) leadsToShown(p person, r *core.Record, f *core.RelationField) bool {
	target := c.collection(f.CollectionId).Name
	return slices.ContainsFunc(r.GetStringSlice(f.Name), func(id string) bool {
		t := c.byID(target, id)
		return t != nil && c.reaches(p, c.cell(p, target).View, t)
	})
}

func (c *census) collection(id string) *core.Collection {
	for _, collection := range c.all {
		if collection.Id == id {
			return collection
		}
	}
	c.t.Fatalf("no collection %s", id)
	return nil
}

func relations(collection *core.Collection) (out []*core.RelationField) {
	for _, f := range collection.Fields {
		if r, ok := f.(*core.RelationField); ok {
			out = append(out, r)
		}
	}
	return out
}
