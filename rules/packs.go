package rules

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

//go:embed packs/*.json
var starter embed.FS

// packMaxBytes bounds one pack file; the largest starter pack has 65 kB.
const packMaxBytes = 4 << 20

// Starter returns the packs that come with FireMode, by file name. They are
// loaded and checked once; callers MUST NOT change them.
var Starter = sync.OnceValues(func() ([]Pack, error) { return LoadAll(starter) })

// LoadAll reads every .json file in the folder packs of fsys. It reports all
// mistakes of all files together, and rule codes used twice across packs.
func LoadAll(fsys fs.FS) ([]Pack, error) {
	names, err := fs.Glob(fsys, "packs/*.json")
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("list packs: none found")
	}
	var packs []Pack
	var problems []error
	owner := map[string]string{}
	for _, name := range names {
		raw, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read pack: %w", err)
		}
		p, err := Load(raw)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, r := range p.Rules {
			if first, taken := owner[r.Code]; taken {
				problems = append(problems, fmt.Errorf("%s: rule %s is already in %s", name, r.Code, first))
			}
			owner[r.Code] = name
		}
		packs = append(packs, p)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return packs, nil
}

// Load reads one pack strictly: an unknown or doubled key, a missing part or a
// condition that cannot be decided is an error. The pack's name is written into
// each rule, so that a rule is complete on its own.
func Load(raw []byte) (Pack, error) {
	if len(raw) > packMaxBytes {
		return Pack{}, fmt.Errorf("read pack: %d bytes, the limit is %d", len(raw), packMaxBytes)
	}
	if _, err := Canonical(raw); err != nil { // the strict reader below takes a doubled key
		return Pack{}, fmt.Errorf("read pack: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var p Pack
	if err := d.Decode(&p); err != nil {
		return Pack{}, fmt.Errorf("read pack: %w", err)
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Pack != "" && r.Pack != p.Pack {
			return Pack{}, fmt.Errorf("rule %s says pack %q inside pack %q", r.Code, r.Pack, p.Pack)
		}
		r.Pack = p.Pack
	}
	return p, p.Validate()
}
