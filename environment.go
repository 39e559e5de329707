package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"
)

// settingPrefix marks the names that nobody else uses: an unknown one is a slip that would otherwise do nothing, silently.
const settingPrefix = "FIREMODE_"

// testSettings are read by the tests, which run beside the program.
var testSettings = []string{"FIREMODE_SOAK", "FIREMODE_CHROMIUM", "FIREMODE_TEST_POSTGRES"}

// injected are the names that Kubernetes gives every pod beside a service called firemode.
var injected = regexp.MustCompile(`^FIREMODE_(SERVICE_|PORT$|PORT_)`)

// environment returns a getenv over the process environment, as os.Environ
// gives it, and the .env file beside the binary or in the working directory;
// the environment wins. A FIREMODE_ name that means nothing is an error.
func environment(environ []string) (func(string) string, error) {
	process := map[string]string{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		process[name] = value
	}
	unknown := unknownSettings(process, "the environment")
	for _, path := range dotenvPaths() {
		file, err := godotenv.Read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: it is not a list of NAME=value lines", path) // the parser's own words may quote a secret
		}
		unknown = append(unknown, unknownSettings(file, path)...)
		for name, value := range file {
			if process[name] == "" {
				process[name] = value
			}
		}
		break
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("the configuration has mistakes:\n%w", errors.Join(unknown...))
	}
	return func(name string) string { return process[name] }, nil
}

func dotenvPaths() []string {
	paths := []string{".env"}
	if exe, err := os.Executable(); err == nil {
		paths = append(paths, filepath.Join(filepath.Dir(exe), ".env"))
	}
	return paths
}

// unknownSettings reports each name that looks like a setting and is none.
func unknownSettings(values map[string]string, where string) (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(name, settingPrefix) || slices.Contains(testSettings, name) || injected.MatchString(name) ||
			slices.ContainsFunc(variables, func(v variable) bool { return v.name == name }) {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %s has no such setting; %s", name, where, nearest(name)))
	}
	return errs
}

// nearest names the setting that shares the longest beginning with name.
func nearest(name string) string {
	best, length := "", 0
	for _, v := range variables {
		n := 0
		for n < min(len(v.name), len(name)) && v.name[n] == name[n] {
			n++
		}
		if n > length {
			best, length = v.name, n
		}
	}
	if length <= len(settingPrefix) {
		return "the README lists all"
	}
	return "is it " + best + "?"
}
