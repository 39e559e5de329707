package api_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"firemode/crdt"
)

// syncRaw sends lines as they are, with the chain that they have.
func (d *tablet) syncRaw(lines ...string) answer {
	d.w.t.Helper()
	prev, chain := d.chain, d.chain
	for _, line := range lines {
		chain = crdt.Chain(chain, []byte(line))
	}
	b64 := base64.StdEncoding.EncodeToString
	head := fmt.Sprintf(`{"v":1,"since":0,"actor":"%s","from":%d,"prev":"%s","head":"%s"}`+"\n", d.actor, d.seq+1, b64(prev[:]), b64(chain[:]))
	return d.w.do(request{method: "POST", path: "/v1/tests/sessions/" + d.w.session + "/sync", as: d.as, body: head + strings.Join(lines, "\n") + "\n",
		header: map[string]string{"Content-Type": "application/x-ndjson"}})
}

// Whatever a device sends that cannot be taken, the answer says why, nothing of it is stored,
// and the device's next good operation goes through: an honest queue never gets stuck.
func TestBadOperationsStopNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("inspector")
	line := func(path, value, more string) string {
		return fmt.Sprintf(`{"a":"%s","k":"put","p":"%s","s":%d,"t":"0199a3f2b1c4-0001","v":%s%s}`, d.actor, path, d.seq+1, value, more)
	}
	const path = "items/FE-001/result"
	var many strings.Builder
	for i := range crdt.SeenMax + 1 {
		fmt.Fprintf(&many, `,"x%d.1"`, i)
	}
	for name, row := range map[string]struct {
		line   func() string
		status int
	}{
		"no JSON":                        {func() string { return "hello" }, 422},
		"cut off":                        {func() string { return line(path, `"pass"`, "")[:40] }, 422},
		"a space":                        {func() string { return strings.Replace(line(path, `"pass"`, ""), `,"k"`, `, "k"`, 1) }, 422},
		"another escape":                 {func() string { return line(path, `"\u0070ass"`, "") }, 422},
		"a float":                        {func() string { return line(path, `12.50`, "") }, 422},
		"too deep":                       {func() string { return line(path, `[[[[[[[1]]]]]]]`, "") }, 422},
		"too large":                      {func() string { return line(path, `"`+strings.Repeat("x", crdt.OpMaxBytes)+`"`, "") }, 422},
		"too many seen":                  {func() string { return line(path, `"pass"`, `,"x":[`+many.String()[1:]+`]`) }, 422},
		"a value that is no":             {func() string { return line(path, `{"$redacted":"0123456789abcdef0123456789abcdef"}`, "") }, 422},
		"a path upwards":                 {func() string { return line("../secrets/x y", `"pass"`, "") }, 422},
		"an empty path":                  {func() string { return line("", `"pass"`, "") }, 422},
		"an empty segment":               {func() string { return line("items//result", `"pass"`, "") }, 422},
		"a slash at the end":             {func() string { return line("items/", `"pass"`, "") }, 422},
		"a long path":                    {func() string { return line(strings.Repeat("x", crdt.PathMaxBytes+1), `"pass"`, "") }, 422},
		"a path that looks like another": {func() string { return line("items/FE\u2010001/result", `"pass"`, "") }, 422},
		"an increment too large": {func() string {
			return fmt.Sprintf(`{"a":"%s","k":"inc","n":2147483649,"p":"heads","s":%d,"t":"0199a3f2b1c4-0001"}`, d.actor, d.seq+1)
		}, 422},
		"an unknown kind":       {func() string { return strings.Replace(line(path, `"pass"`, ""), `"put"`, `"del"`, 1) }, 422},
		"a dot that is nowhere": {func() string { return line(path, `"pass"`, `,"x":["nobody.1"]`) }, 409},
		"the number after next": {func() string {
			return strings.Replace(line(path, `"pass"`, ""), fmt.Sprintf(`"s":%d`, d.seq+1), fmt.Sprintf(`"s":%d`, d.seq+2), 1)
		}, 422},
		"another's": {func() string { return strings.Replace(line(path, `"pass"`, ""), d.actor, "aaaaaaaaaaaa", 1) }, 403},
	} {
		a := d.syncRaw(row.line())
		if a.status != row.status {
			t.Errorf("%s: got %d, want %d: %.300s", name, a.status, row.status, a.body)
		}
		d.sync(`"pass"`, path).want(200)
	}
	// An operation made for another document has another chain from its first link on.
	elsewhere := tablet{w: w, as: d.as, actor: d.actor}
	elsewhere.chain = crdt.ChainStart("0199a3f2-b1c4-7000-8000-000000000000", d.actor)
	if got := elsewhere.syncRaw(strings.Replace(line(path, `"fail"`, ""), fmt.Sprintf(`"s":%d`, d.seq+1), `"s":1`, 1)).want(409).member("data").(map[string]any)["code"]; got != "chain" && got != "fork" {
		t.Errorf("for another document: got %v", got)
	}
	// A clock that is years off is taken, and said.
	future := strings.Replace(line(path, `"pass"`, ""), "0199a3f2b1c4", "0fffffffffff", 1)
	d.syncRaw(future).want(200)
	d.seq, d.chain = d.seq+1, crdt.Chain(d.chain, []byte(future))
	if h := w.get("officer", "/history?path="+path+"&limit=1").want(200).items(); h[0]["clock_off"] != true {
		t.Errorf("a clock from another century: got %v", h[0])
	}
	d.sync(`"pass"`, path).want(200)
	if r, err := w.deps.Merge.Verify(t.Context(), w.session); err != nil || r.Finding != nil || r.Ops != int64(d.seq) {
		t.Errorf("verify: %+v %v, want the %d good operations", r, err, d.seq)
	}
}
