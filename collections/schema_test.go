package collections_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"firemode/collections"
)

var update = flag.Bool("update", false, "rewrite testdata/schema.golden.json from the declared schema")

const goldenPath = "testdata/schema.golden.json"

func TestDeclaredSchemaEqualsGolden(t *testing.T) {
	got, err := collections.SchemaJSON()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(goldenPath, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the declared schema differs from %s; freeze the change as a new migration, then run: go test ./collections -run Golden -update", goldenPath)
	}
}
