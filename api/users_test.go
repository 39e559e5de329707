package api_test

import (
	"fmt"
	"strings"
	"testing"

	"firemode/collections"
)

// Staff find their own people by the whole number, however it is spelt; others find nobody, and
// the number is in no answer.
func TestPeopleAreFoundByNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, phone := range map[string]string{"inspector": "+61 400 000 123", "owner": "+61 400 000 124"} {
		r, err := w.app.FindFirstRecordByData(collections.Users, collections.FieldUsername, name)
		if err != nil {
			t.Fatal(err)
		}
		r.Set(collections.FieldPhone, phone)
		if err := w.app.Save(r); err != nil {
			t.Fatal(err)
		}
	}
	search := func(as, phone string) answer {
		return w.do(request{method: "POST", path: "/v1/users/search", as: as, body: map[string]any{"phone": phone}})
	}
	for _, row := range []struct{ as, phone, want string }{
		{"manager", "+61 400 000 123", "inspector"}, {"officer", "+61(400)000-123", "inspector"}, {"manager", "+61400000124", "owner"},
		{"manager", "+61 400 000 12", ""}, {"manager", "%", ""}, {"manager", " - ", ""}, {"stranger", "+61 400 000 123", ""},
	} {
		got := search(row.as, row.phone).want(200)
		list := got.member("data").([]any)
		name := ""
		if len(list) > 0 {
			name = fmt.Sprint(list[0].(map[string]any)["username"])
		}
		if name != row.want || len(list) > 1 || strings.Contains(string(got.body), "000") && strings.Contains(string(got.body), "400") {
			t.Errorf("%s looks for %q: got %s, want %q", row.as, row.phone, got.body, row.want)
		}
	}
	for _, as := range []string{"inspector", "owner", "auditor", "client"} {
		search(as, "+61 400 000 123").want(403)
	}
	search("", "+61 400 000 123").want(401)
	search("manager", "").want(422)
	search("manager", strings.Repeat("1", 33)).want(422)
}
