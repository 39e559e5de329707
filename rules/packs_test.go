package rules_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"firemode/rules"
)

func TestStarterPacks(t *testing.T) {
	t.Parallel()
	packs, err := rules.Starter()
	if err != nil {
		t.Fatalf("load starter packs: %v", err)
	}
	codes := map[string]bool{}
	var australian, foreign int
	for _, p := range packs {
		for _, r := range p.Rules {
			if codes[r.Code] {
				t.Errorf("rule %s twice", r.Code)
			}
			codes[r.Code] = true
			if strings.HasPrefix(r.Code, "AS1851-2012-") {
				australian++
			} else {
				foreign++
			}
			if last := r.Decide[len(r.Decide)-1]; !last.Else {
				t.Errorf("rule %s does not end in an else", r.Code)
			}
			if r.Provenance != rules.ProvenancePublic && r.Provenance != rules.ProvenanceIllustrative {
				t.Errorf("rule %s: provenance %q", r.Code, r.Provenance)
			}
		}
	}
	if australian != 40 || foreign != 6 {
		t.Errorf("got %d rules of AS 1851 and %d foreign ones, want 40 and 6", australian, foreign)
	}
	for _, code := range []string{"AS1851-2012-SK-01", "AS1851-2012-RC-01", "AS1851-2012-EL-01", "NFPA25-PUMP-CHURN", "UK-FDOOR-FLAT"} {
		if !codes[code] {
			t.Errorf("rule %s is missing", code)
		}
	}
}

// The digest is the rule's name in every decision: it must not depend on layout
// or on the order of keys, and must depend on everything else.
func TestCanonicalIsStable(t *testing.T) {
	t.Parallel()
	packs, err := rules.Starter()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packs {
		for _, r := range p.Rules {
			text, err := r.Canonical()
			if err != nil {
				t.Fatalf("canonical %s: %v", r.Code, err)
			}
			var again rules.Rule
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatalf("read %s back: %v", r.Code, err)
			}
			second, _ := again.Canonical()
			if !bytes.Equal(text, second) {
				t.Errorf("rule %s: canonical text changed in a round trip:\n%s\n%s", r.Code, text, second)
			}
			before, _ := r.SHA256()
			again.Decide[0].Reason += "."
			after, _ := again.SHA256()
			if before == after {
				t.Errorf("rule %s: the digest did not change with a reason", r.Code)
			}
		}
	}
	a, err := rules.Canonical([]byte(`{"b":1.50,"a":[1e2,"<é>"]}`))
	if got, want := string(a), `{"a":[100,"<é>"],"b":1.5}`; err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	for _, bad := range []string{`{"a":1,"a":2}`, `{} {}`, `{`, `[1,]`, ``, strings.Repeat("[", 40) + strings.Repeat("]", 40)} {
		if got, err := rules.Canonical([]byte(bad)); err == nil {
			t.Errorf("Canonical(%q): got %s, want an error", bad, got)
		}
	}
}

const minimal = `{"pack":"test","title":"t","edition":"1","jurisdiction":["AU"],"tolerances":{"P1Y":{"value":2,"unit":"month"}},"sources":{"S1":"s"},
"rules":[{"rule_code":"T-01","version":"1.0.0","title":"t","description":"d","section":"1","pointer":"p","status":"active","equipment":"e","frequency":"P1Y",
"provenance":"public","source":"S1","basis":"b","effective":{"from":"2026-01-01","to":null},
"inputs":[{"name":"force_n","label":"l","type":"quantity","unit":"N","from":"measured","min":0,"max":500,"decimals":1,"required":true},
{"name":"door","label":"l","type":"choice","from":"context","options":["stair","other"],"required":true},
{"name":"warm","label":"l","type":"boolean","from":"context","required":false,"default":false}],
"decide":[{"when":"force_n > 0.9 * 110 && door == \"stair\" && !warm","outcome":"critical_defect","reason":"r"},{"else":true,"outcome":"pass","reason":"r"}],
"evidence":{"min_photos":1},"sla_policy":"au-default"}]}`

// Each row breaks one thing of a pack that loads, so each check is seen to fail.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	if _, err := rules.Load([]byte(minimal)); err != nil {
		t.Fatalf("the unbroken pack: %v", err)
	}
	for _, row := range []struct{ old, new, want string }{
		{`"sla_policy"`, `"sla"`, `unknown field "sla"`},
		{`"title":"t","edition"`, `"title":"t","title":"t","edition"`, `key "title" twice`},
		{`"version":"1.0.0"`, `"version":"1.0"`, "not a semantic version"},
		{`"version":"1.0.0"`, `"version":"1.0.0+a"`, "not a semantic version"},
		{`"version":"1.0.0"`, `"version":"01.0.0"`, "not a semantic version"},
		{`"rule_code":"T-01"`, `"rule_code":"t 01"`, "rule_code"},
		{`"provenance":"public"`, `"provenance":""`, `provenance ""`},
		{`"source":"S1",`, ``, "names no source"},
		{`"source":"S1",`, `"source":"S2",`, "not listed"},
		{`"frequency":"P1Y"`, `"frequency":"P1M"`, "no tolerance"},
		{`"frequency":"P1Y"`, `"frequency":"yearly"`, "not a period"},
		{`"to":null`, `"to":"2025-01-01"`, "no date after"},
		{`"section":"1"`, `"section":""`, "section is empty"},
		{`"unit":"N"`, `"unit":"lbf"`, "unknown unit"},
		{`"min":0,"max":500`, `"min":500,"max":500`, "range is empty"},
		{`"min":0,"max":500,`, ``, "range missing"},
		{`"decimals":1,`, ``, "decimals missing"},
		{`"options":["stair","other"],`, ``, "options belong to a choice"},
		{`,"default":false`, ``, "no default"},
		{`"default":false`, `"default":1`, "no boolean"},
		{`"name":"warm"`, `"name":"Warm"`, "lower-case name"},
		{`!warm"`, `!cold"`, "cold is not an input"},
		{` && !warm"`, `"`, `"warm" is not used`},
		{`!warm"`, `warm > 1"`, "between a boolean and a number"},
		{`!warm"`, `force_n"`, "between a boolean and a number"},
		{`\"stair\"`, `\"roof\"`, "not an option of door"},
		{`0.9 * 110`, `0x10`, "not plain decimal"},
		{`0.9 * 110`, `len(door)`, "only names, literals and operators"},
		{`0.9 * 110`, `(`, "does not parse"},
		{`"outcome":"critical_defect"`, `"outcome":"severe"`, "unknown outcome"},
		{`{"else":true,"outcome":"pass","reason":"r"}`, `{"when":"warm","outcome":"pass","reason":"r"}`, "else must be the last"},
		{`{"else":true,`, `{"else":true,"when":"warm",`, "both when and else"},
		{`"reason":"r"},{"else"`, `"reason":""},{"else"`, "gives no reason"},
		{`"unit":"month"`, `"unit":"moon"`, "tolerance"},
		{`"pack":"test"`, `"pack":"as1851-2012"`, ""}, // section 1 exists there
		{`"section":"1","pointer"`, `"section":"15","pack":"as1851-2012","pointer"`, "says pack"},
	} {
		broken := strings.Replace(minimal, row.old, row.new, 1)
		if broken == minimal {
			t.Errorf("%q is not in the pack", row.old)
		}
		_, err := rules.Load([]byte(broken))
		if row.want == "" {
			if err != nil {
				t.Errorf("%s: got %v, want no error", row.new, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s -> %s: got %v, want an error with %q", row.old, row.new, err, row.want)
		}
	}
	in := strings.Replace(strings.Replace(minimal, `"pack":"test"`, `"pack":"as1851-2012"`, 1), `"section":"1"`, `"section":"15"`, 1)
	if _, err := rules.Load([]byte(in)); err == nil || !strings.Contains(err.Error(), "none of 1 to 14") {
		t.Errorf("section 15: got %v", err)
	}
}

func TestLoadAllFindsCodesUsedTwice(t *testing.T) {
	t.Parallel()
	_, err := rules.LoadAll(fstest.MapFS{
		"packs/a.json": {Data: []byte(minimal)},
		"packs/b.json": {Data: []byte(strings.Replace(minimal, `"pack":"test"`, `"pack":"other"`, 1))},
	})
	if err == nil || !strings.Contains(err.Error(), "already in packs/a.json") {
		t.Errorf("got %v, want the code reported", err)
	}
	if _, err := rules.LoadAll(fstest.MapFS{}); err == nil {
		t.Error("no pack at all: got no error")
	}
}
