package pgsync

import (
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"firemode/internal/testapp"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestBadConnectionStringsAreRefusedWithoutTheirPassword(t *testing.T) {
	t.Parallel()
	const password = "s3cr3tpass"
	for _, dsn := range []string{
		"", "   ",
		"postgres://fm:" + password + "@host:port/db",
		"postgres://fm:" + password + "@host:99999/db?sslmode=maybe",
		"postgres://fm:" + password + "@[::1/db",
		"postgres://fm:%zz" + password + "@host/db",
		"mysql://fm:" + password + "@host/db",
		"host=h port=x password=" + password,
		"host=h password='" + password,
		"host=h password=" + password + " sslmode=maybe",
		"host=h connect_timeout=" + password,
		"password=" + password + " nonsense",
		"postgres://fm:" + password + "@host/db?sslrootcert=/nonexistent/" + password,
	} {
		err := ValidateDSN(dsn)
		if err == nil {
			t.Errorf("%q was accepted", strings.ReplaceAll(dsn, password, "***"))
			continue
		}
		if strings.Contains(err.Error(), password) {
			t.Errorf("the error for %q shows the password: %v", strings.ReplaceAll(dsn, password, "***"), err)
		}
		if !strings.Contains(err.Error(), "connection string") {
			t.Errorf("%v does not say what is wrong with what", err)
		}
	}
	for _, dsn := range []string{"postgres://fm:" + password + "@host:5432/db?sslmode=disable", "host=/run/postgresql dbname=fm"} {
		if err := ValidateDSN(dsn); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

func TestConfigMistakesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := New(testapp.New(t), Config{Lease: -1, Timeout: -time.Second})
	for _, want := range []string{"Lease", "Timeout", "connection string"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestClassesOfStates(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]class{
		"FM001": classFenced, "08006": classTransient, "57P01": classTransient, "57P03": classTransient, "53300": classTransient,
		"40001": classTransient, "55P03": classTransient, "25006": classTransient, "57014": classTransient, "22021": classData,
		"23503": classData, "54000": classData, "42P01": classDrift, "42703": classDrift, "0A000": classDrift, "28P01": classPermission,
		"42501": classPermission, "XX000": classUnknown, "": classUnknown,
	} {
		if got := classify(&pgconn.PgError{Code: code}); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}

// Messages of the server quote values of rows; what operators and logs get to see does not.
func TestPublicTextHidesValues(t *testing.T) {
	t.Parallel()
	err := &pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type uuid: "canary"`, Detail: "canary", TableName: "t"}
	if got := publicText(err); strings.Contains(got, "canary") || !strings.Contains(got, "22P02") {
		t.Errorf("public text = %q", got)
	}
}

// A cached plan that joins a mirror table while it is empty becomes quadratic; MERGE and newer words need PostgreSQL 15+.
func TestStatementsKeepToWhatIsKnownToBeFast(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?is)\bMERGE\b|\bUPDATE\s+\S+(\s+AS\s+\S+)?\s+SET\b[^;]*\sFROM\s+unnest|\bDELETE\s+FROM\s+\S+\s+USING\b|NULLS NOT DISTINCT|WITHOUT OVERLAPS`)
	for _, control := range []string{"UPDATE h SET a=u.a FROM unnest($1) u", "DELETE FROM h USING x", "MERGE INTO h"} {
		if !forbidden.MatchString(control) {
			t.Errorf("the rule does not find %q", control)
		}
	}
	check := func(name, text string) {
		if found := forbidden.FindString(text); found != "" {
			t.Errorf("%s: %q", name, found)
		}
	}
	names, err := fs.Glob(sqlFiles, "sql/*.sql")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d statements, %v", len(names), err)
	}
	for _, name := range names {
		b, err := sqlFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), ";") {
			t.Errorf("%s holds more than one statement", name)
		}
		check(name, string(b))
	}
	for _, r := range fixedReports() {
		if strings.Contains(r.create, ";") || !strings.HasSuffix(r.comment, "?") {
			t.Errorf("%s is no single statement under a question", r.name)
		}
		check(r.name, r.create)
	}
	table := Mirrored().Tables[2].table()
	check("upsert", table.upsert())
	check("delete", table.delete())
}

// The keys of sealed fields must be out of reach of the code that talks to another machine.
func TestTheKeyPackageIsNotImported(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "firemode/pgsync").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	deps := "\n" + string(out)
	if !strings.Contains(deps, "\nfiremode/collections\n") {
		t.Fatal("go list does not show what is imported")
	}
	for _, forbidden := range []string{"firemode/sealed", "firemode/hooks", "github.com/fernet/fernet-go"} {
		if strings.Contains(deps, "\n"+forbidden+"\n") {
			t.Errorf("pgsync depends on %s", forbidden)
		}
	}
}
