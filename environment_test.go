package main

import (
	"strings"
	"testing"
)

// A name that looks like a setting and is none stops the start; what others put into the environment does not.
func TestUnknownSettings(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"FIREMODE_HTTP":              "",
		"FIREMODE_MIRROR_LOG_MXA":    "is it FIREMODE_MIRROR_LOG_MAX?",
		"FIREMODE_WHATEVER":          "is it FIREMODE_WRITES_PER_SECOND?",
		"FIREMODE_X":                 "the README lists all",
		"FIREMODE_SOAK":              "",
		"FIREMODE_SERVICE_HOST":      "",
		"FIREMODE_PORT":              "",
		"FIREMODE_PORT_5000_TCP":     "",
		"FIREMODE_PORTS":             "the README lists all",
		"POSTGRES_PASSWORD":          "",
		"JWT_SECRET_OF_SOMEBODY_ELS": "",
	} {
		getenv, err := environment([]string{name + "=secretvalue", "HOME=/root"})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want == "" && getenv(name) != "secretvalue":
			t.Errorf("%s: got %q", name, getenv(name))
		case want != "" && (err == nil || !strings.Contains(err.Error(), name+": the environment has no such setting; "+want)):
			t.Errorf("%s: got %v, want %q", name, err, want)
		case err != nil && strings.Contains(err.Error(), "secretvalue"):
			t.Errorf("%s: the error shows the value", name)
		}
	}
}
