package crdt

import (
	"encoding/json"
	"strings"
	"testing"
)

var mixedLines = []string{
	`{"a":"a","k":"put","p":"items/FE-001/result","s":1,"t":"0199a3f2b1c4-0001","v":"fail"}`,
	`{"a":"b","k":"put","p":"items/FE-001/result","s":1,"t":"0199a3f2b1c4-0002","v":"pass"}`,
	`{"a":"b","k":"put","p":"items/FE-001/value","s":2,"t":"0199a3f2b1c4-0003","v":{"q":{"$num":"12.50"},"u":"kPa"}}`,
	`{"a":"b","k":"put","p":"items-x","s":3,"t":"0199a3f2b1c4-0004","v":1}`,
	`{"a":"b","k":"inc","n":3,"p":"items","s":4,"t":"0199a3f2b1c4-0005"}`,
	`{"a":"b","k":"ins","p":"steps","s":5,"t":"0199a3f2b1c4-0006","v":1}`,
	`{"a":"b","k":"ins","p":"steps","r":"b.5","s":6,"t":"0199a3f2b1c4-0007","v":2}`,
	`{"a":"b","k":"rem","p":"steps","s":7,"t":"0199a3f2b1c4-0008","x":["b.5"]}`,
}

func TestMaterialise(t *testing.T) {
	t.Parallel()
	d := build(t, mixedLines...)
	want := strings.Join([]string{
		`{"$schema":"test-session/1","items":{"$count":3,"FE-001":{`,
		`"result":{"$value":"fail","$policy":"worst","$conflict":true,"$entries":[`,
		`{"value":"pass","dot":"b.1","time":"0199a3f2b1c4-0002"},{"value":"fail","dot":"a.1","time":"0199a3f2b1c4-0001"}]},`,
		`"value":{"$value":{"q":12.50,"u":"kPa"},"$policy":"mv","$conflict":false,"$entries":[`,
		`{"value":{"q":12.50,"u":"kPa"},"dot":"b.2","time":"0199a3f2b1c4-0003"}]}}},`,
		`"items-x":{"$value":1,"$policy":"mv","$conflict":false,"$entries":[{"value":1,"dot":"b.3","time":"0199a3f2b1c4-0004"}]},`,
		`"steps":{"$list":[{"value":2,"dot":"b.6","time":"0199a3f2b1c4-0007"}]}}`,
	}, "")
	got := string(d.Materialise(MustTestSession()))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Error("got invalid JSON")
	}
	if got, want := string(New().Materialise(MustTestSession())), `{"$schema":"test-session/1"}`; got != want {
		t.Errorf("empty document: got %s, want %s", got, want)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	want := `c items-x b.3 1
c items/FE-001/result b.1 "pass"
c items/FE-001/result a.1 "fail"
c items/FE-001/value b.2 {"q":{"$num":"12.50"},"u":"kPa"}
n items 3
l steps b.6 2
v a 1
v b 7
`
	if got := string(build(t, mixedLines...).Text()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
