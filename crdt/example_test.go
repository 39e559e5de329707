package crdt_test

import (
	"errors"
	"fmt"
	"time"

	"firemode/crdt"
)

// Two inspectors record the same item without having seen each other. Both values stay, the
// worse one is shown, and a supervisor who has seen both decides.
func Example() {
	clock := crdt.Clock{Now: func() time.Time { return time.UnixMilli(1_764_000_000_000) }}
	doc := crdt.New()
	record := func(actor, val string, seen ...crdt.Dot) {
		op := crdt.Op{
			Dot:  crdt.Dot{Actor: actor, Seq: doc.Held(actor) + 1},
			Time: clock.Next(), Kind: crdt.Put, Path: "items/FE-001/result", Val: val, Seen: seen,
		}
		_, parsed, err := op.Encode()
		if err == nil {
			_, err = doc.Apply(&parsed)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	record("anna", `"fail"`)
	record("ben", `"pass"`)

	schema := crdt.MustTestSession()
	view := schema.Resolve(doc, "items/FE-001/result")
	fmt.Println(view.Value, view.Conflict, len(view.Entries))

	var seen []crdt.Dot
	for _, e := range view.Entries {
		seen = append(seen, e.Dot)
	}
	record("carla", `"pass"`, seen...)
	view = schema.Resolve(doc, "items/FE-001/result")
	fmt.Println(view.Value, view.Conflict, len(view.Entries))
	// Output:
	// "fail" true 2
	// "pass" false 1
}

func ExampleParseOp() {
	line := `{"a":"d1","k":"put","p":"items/FE-001/value","s":1,"t":"0199a3f2b1c4-0001","v":{"q":{"$num":"12.50"},"u":"kPa"}}`
	op, err := crdt.ParseOp([]byte(line))
	fmt.Println(op.Dot, op.Kind, string(crdt.RenderJSON(op.Val)), err)

	_, err = crdt.ParseOp([]byte(`{"a":"d1", "k":"put"}`))
	fmt.Println(errors.Is(err, crdt.ErrFormat))
	// Output:
	// d1.1 put {"q":12.50,"u":"kPa"} <nil>
	// true
}

func ExampleCanonicalJSON() {
	val, err := crdt.CanonicalJSON([]byte(`{ "u": "kPa", "q": 9007199254740993.10 }`))
	fmt.Println(string(val), err)
	fmt.Println(string(crdt.RenderJSON(string(val))))
	// Output:
	// {"q":{"$num":"9007199254740993.10"},"u":"kPa"} <nil>
	// {"q":9007199254740993.10,"u":"kPa"}
}

func ExampleDoc_Apply() {
	doc := crdt.New()
	op, _ := crdt.ParseOp([]byte(`{"a":"d1","k":"inc","n":3,"p":"heads","s":2,"t":"0199a3f2b1c4-0001"}`))
	_, err := doc.Apply(&op)
	var gap *crdt.GapError
	fmt.Println(errors.As(err, &gap), gap.Want)
	// Output: true 1
}

func ExampleDoc_Materialise() {
	doc := crdt.New()
	op, _ := crdt.ParseOp([]byte(`{"a":"d1","k":"put","p":"status","s":1,"t":"0199a3f2b1c4-0001","v":"open"}`))
	doc.Apply(&op)
	fmt.Println(string(doc.Materialise(crdt.MustTestSession())))
	// Output:
	// {"$schema":"test-session/1","status":{"$value":"open","$policy":"lww","$conflict":false,"$entries":[{"value":"open","dot":"d1.1","time":"0199a3f2b1c4-0001"}]}}
}

func ExamplePathFromPointer() {
	path, err := crdt.PathFromPointer("/items/Level 2/result")
	fmt.Println(path, err)
	// Output: items/Level@202/result <nil>
}

func ExampleVersionVector_Compare() {
	mine, theirs := crdt.VersionVector{"a": 2}, crdt.VersionVector{"a": 1, "b": 4}
	fmt.Println(mine.Compare(theirs))
	mine.Merge(theirs)
	fmt.Println(mine.Compare(theirs), string(mine.AppendJSON(nil)))
	// Output:
	// concurrent
	// after {"a":2,"b":4}
}
