package hooks

import (
	"regexp"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/google/uuid"
)

func TestIDsAreOrderedUUIDv7(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleManager)
	token := s.login(collections.Users, "mei", rightPassword)
	pattern := regexp.MustCompile(collections.IDPattern)
	last := ""
	create := func(id any) (int, answer) {
		body := answer{"name": "Harbour Tower " + uuid.NewString(), "address": "1 Quay St", "building_type": "5", "organisation_id": s.org.Id}
		if id != nil {
			body["id"] = id
		}
		res, out := s.send("POST", records(collections.Buildings), token, body)
		return res.StatusCode, out
	}
	for range 5 {
		status, out := create(nil)
		id := out.text("id")
		if status != 200 || !pattern.MatchString(id) || id <= last {
			t.Fatalf("created id: got %d %v after %q, want a later UUIDv7", status, out, last)
		}
		last = id
	}
	own := uuid.Must(uuid.NewV7()).String()
	for name, tt := range map[string]struct {
		id   string
		want int
	}{
		"version 4":  {uuid.NewString(), 400},
		"upper case": {strings.ToUpper(uuid.Must(uuid.NewV7()).String()), 400},
		"short":      {"abcdefghijklmno", 400},
	} {
		if status, out := create(tt.id); status != tt.want {
			t.Errorf("%s: got %d %v, want %d", name, status, out, tt.want)
		}
	}
	if status, out := create(own); status != 200 || out.text("id") != own {
		t.Errorf("id of the caller: got %d %v, want it kept", status, out)
	}
	if status, _ := create(own); status != 400 {
		t.Errorf("the same id again: got %d, want 400", status)
	}
	su := s.superuser("root", collections.RoleAdmin)
	if len(su.Id) != 15 {
		t.Errorf("superuser id: got %q, want PocketBase's own form", su.Id)
	}
}
