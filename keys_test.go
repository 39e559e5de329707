package main

import (
	"regexp"
	"strings"
	"testing"

	"firemode/internal/testbin"
)

// A server does not start when a key that values are sealed with was taken away, names it, and
// starts again with it, after a rotation without it, or when it is said to be lost.
func TestAKeyInUseIsNotTakenAway(t *testing.T) {
	t.Parallel()
	key := func() string { return strings.TrimSpace(testbin.MustRun(t, nil, "keys", "generate")) }
	first, second := key(), key()
	data := t.TempDir() + "/data"
	with := func(keys string) testbin.Env { return testbin.Env{"FIREMODE_DATA": data, "FERNET_KEY": keys} }
	testbin.MustRun(t, with(first), "seed", "--demo")

	serves := func(what, keys string) {
		t.Helper()
		if server := testbin.Start(t, with(keys)); server.Stop(t) != exitOK {
			t.Errorf("%s: exit code of the server is not %d\n%s", what, exitOK, server.Log())
		}
	}
	refused := func(what, keys string) string {
		t.Helper()
		server := testbin.Launch(t, with(keys))
		code, log := server.Wait(t), server.Log()
		fingerprint := regexp.MustCompile(`keys forget ([0-9a-f]{8})\n`).FindStringSubmatch(log)
		if code != exitError || fingerprint == nil || strings.Contains(log, first) || strings.Contains(log, second) {
			t.Fatalf("%s: got exit code %d, want %d with the fingerprint of the key and no key\n%s", what, code, exitError, log)
		}
		return fingerprint[1]
	}
	serves("the key that seals", first)
	lost := refused("another key alone", second)
	if list := testbin.MustRun(t, with(first), "keys", "list"); !strings.Contains(list, lost) {
		t.Errorf("the fingerprint %s is not that of the first key:\n%s", lost, list)
	}
	serves("both keys", second+","+first)
	refused("before the rotation", second)
	testbin.MustRun(t, with(second+","+first), "keys", "rotate")
	serves("after the rotation", second)
	testbin.MustRun(t, with(second), "keys", "verify")
	if r := testbin.Run(t, with(first), "keys", "verify"); r.Code != exitError || !strings.Contains(r.Stdout, "no key opens it") {
		t.Errorf("verify with the old key: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	testbin.MustRun(t, with(first), "keys", "forget", refused("the old key after the rotation", first))
	serves("a key that is said to be lost", first)
}
