//go:build !race

package api_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The writes of the record API, alone and in a batch.

// A write is one request, and whether the table admits it.
type write struct {
	method, path string
	body         map[string]any
	admitted     bool
	batched      bool // send it in a batch as well
}

// ends are the oldest and the newest record, which lie in different places.
func ends(records []*core.Record) []*core.Record {
	if len(records) < 3 {
		return records
	}
	return []*core.Record{records[0], records[len(records)-1]}
}

// writes are what a person may try on a collection.
func (c *census) writes(p person, collection *core.Collection) (out []write) {
	base, may := recordsOf(collection), c.cell(p, collection.Name)
	shown, hidden := c.visible(p, collection.Name), c.hidden(p, collection.Name)
	targets := hidden[max(0, len(hidden)-1):]
	if i := slices.IndexFunc(shown, func(r *core.Record) bool { return c.reaches(p, may.Update|may.Delete, r) }); i >= 0 {
		targets = append([]*core.Record{shown[i]}, targets...)
	}
	if i := slices.IndexFunc(shown, func(r *core.Record) bool { return !c.reaches(p, may.Update|may.Delete, r) }); i >= 0 {
		targets = append([]*core.Record{shown[i]}, targets...)
	}
	if !p.active() {
		targets = targets[:min(1, len(targets))] // turned away at the door
	}
	for i, r := range targets {
		last := i == len(targets)-1
		changed := c.changed(collection)
		out = append(out, write{http.MethodPatch, base + "/" + r.Id, changed, c.reaches(p, may.Update, r), false},
			write{http.MethodDelete, base + "/" + r.Id, nil, c.reaches(p, may.Delete, r), last})
		if last {
			upsert := maps.Clone(changed)
			upsert["id"] = r.Id
			out = append(out, write{http.MethodPut, base, upsert, c.reaches(p, may.Update, r), true})
		}
	}
	for _, body := range c.creatable(collection) {
		would := core.NewRecord(collection)
		would.Load(body)
		out = append(out, write{http.MethodPost, base, body, c.reaches(p, may.Create, would), true})
	}
	return out
}

// changed is the smallest change of a record that its rules could admit.
func (c *census) changed(collection *core.Collection) map[string]any {
	switch collection.Name {
	case collections.Users:
		return map[string]any{core.FieldNameEmailVisibility: true}
	case collections.BuildingGrants:
		return map[string]any{collections.FieldEndsAt: future}
	}
	return map[string]any{sortField(collection): "changed"}
}

// creatable are bodies of new records, one for each place where one could hang.
func (c *census) creatable(collection *core.Collection) (out []map[string]any) {
	for _, b := range c.records[collections.Buildings] {
		switch collection.Name {
		case collections.TestSessions:
			out = append(out, map[string]any{"building_id": b.Id, "session_name": c.mark()})
		case collections.BuildingGrants:
			out = append(out, map[string]any{"building_id": b.Id, "user_id": c.idOf("early"), "starts_at": future})
		}
	}
	for _, o := range c.records[collections.Organisations] {
		switch collection.Name {
		case collections.Buildings:
			out = append(out, map[string]any{"name": c.mark(), "address": "x", "building_type": "5", "organisation_id": o.Id})
		case collections.CalibrationCertificates:
			out = append(out, map[string]any{
				"organisation_id": o.Id, "instrument_id": "M2", "instrument_type": "gauge", "certificate_number": c.mark(), "calibrated_at": past, "expires_at": future,
			})
		}
	}
	if len(out) == 0 && len(c.records[collection.Name]) > 0 {
		// No role makes one. What is there already would do.
		body := c.records[collection.Name][0].FieldsData()
		for _, own := range []string{"id", sortField(collection), core.FieldNameTokenKey} {
			delete(body, own)
		}
		if collection.IsAuth() {
			body["username"], body["email"] = c.mark(), c.mark()+"@example.test"
			body["password"], body["passwordConfirm"] = "correct horse battery", "correct horse battery"
		}
		out = append(out, body)
	}
	return out
}

// promotions are changes of one's own account that nobody may make, however they
// are spelt.
func (c *census) promotions(p person) (out []write) {
	if p.record == nil {
		return nil
	}
	for field, value := range map[string]any{
		collections.FieldRole: collections.RoleAuditor, collections.FieldOrganisationID: c.records[collections.Organisations][0].Id,
		collections.FieldIsActive: true, collections.FieldUsername: "somebody-else", core.FieldNameVerified: false, core.FieldNameEmail: "else@example.test",
	} {
		names := []string{field}
		if field == collections.FieldRole || field == collections.FieldOrganisationID {
			names = append(names, field+"+", "+"+field, field+"-") // what PocketBase takes for fields of several values
		}
		for _, name := range names {
			out = append(out, write{http.MethodPatch, "/api/collections/users/records/" + p.record.Id, map[string]any{name: value}, false, name == field})
		}
	}
	return out
}

// checkRefused sends every write that is not admitted, alone and in a batch. All
// are refused, and nothing at all has changed.
func (c *census) checkRefused(persons []person, all []*core.Collection) {
	c.t.Helper()
	before := c.digest()
	for _, p := range persons {
		tried := c.promotions(p)
		for _, collection := range all {
			tried = append(tried, c.writes(p, collection)...)
		}
		for _, w := range tried {
			if w.admitted {
				continue
			}
			if w.method != http.MethodPut { // PUT is a batch's word for "update or create"
				if got := c.ask(p, w.method, w.path, w.body); got.status/100 != 4 {
					c.report("%s %s %s %v: got %d, want a refusal", p.name, w.method, w.path, w.body, got.status)
				}
			}
			if !w.batched || p.record != nil && !p.asksForSecrets() {
				continue // a batch asks the same rules; three people send one
			}
			got := c.ask(p, http.MethodPost, "/api/batch", map[string]any{"requests": []any{map[string]any{"method": w.method, "url": w.path, "body": w.body}}})
			if got.status/100 != 4 {
				c.report("%s %s %s %v in a batch: got %d, want a refusal", p.name, w.method, w.path, w.body, got.status)
			}
			c.checkMarks(p, "batch "+w.method+" "+w.path, []byte(strings.ReplaceAll(string(got.body), fmt.Sprint(w.body["email"]), "")))
		}
	}
	c.checkUnchanged(before)
}

// checkUnchanged reports what is different from a digest.
func (c *census) checkUnchanged(before map[string]string) {
	c.t.Helper()
	c.count()
	for what, was := range c.digest() {
		if before[what] != was {
			c.report("requests that are refused changed %s", what)
		}
		delete(before, what)
	}
	for what := range before {
		c.report("requests that are refused removed %s", what)
	}
}

// digest is a check sum of every record.
func (c *census) digest() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for name, records := range c.records {
		for _, r := range records {
			values, err := r.DBExport(c.app)
			if err != nil {
				c.t.Fatal(err)
			}
			text, err := json.Marshal(values)
			if err != nil {
				c.t.Fatal(err)
			}
			out[name+" "+r.Id] = fmt.Sprintf("%x", sha256.Sum256(text))
		}
	}
	return out
}

// checkAdmitted sends the writes that the table admits: each is done.
func (c *census) checkAdmitted() (done map[string]int) {
	c.t.Helper()
	done = map[string]int{}
	for _, p := range c.persons {
		for _, collection := range c.all {
			for _, w := range c.writes(p, collection) {
				if !w.admitted || w.method == http.MethodPut {
					continue
				}
				done[p.name+" "+w.method+" "+collection.Name]++
				if got := c.ask(p, w.method, w.path, w.body); got.status/100 != 2 {
					c.report("%s %s %s %v: got %d %s, want it done", p.name, w.method, w.path, w.body, got.status, got.body)
				}
			}
		}
	}
	return done
}
