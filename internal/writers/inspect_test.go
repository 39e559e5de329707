package writers

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// This file judges what a server has kept, from what writers know and what HTTP answers, by
// its own reading of the rules: it uses nothing of the packages that did the work.

// row is an operation of the log as it was read back.
type row struct {
	N    int64           `json:"n"`
	Line json.RawMessage `json:"op"`
}

// document is what a session shows: the counter of heads, and every live value with its dot.
type document struct {
	heads  int64
	values []string // "path dot value", sorted
}

// rows reads the whole log.
func (s *site) rows() (all []row, err error) {
	for after := int64(0); ; {
		var page struct {
			Data    []row `json:"data"`
			After   int64 `json:"after"`
			HasMore bool  `json:"has_more"`
		}
		if err := s.call("GET", fmt.Sprintf("/v1/tests/sessions/%s/ops?after=%d", s.session, after), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if after = page.After; !page.HasMore {
			return all, nil
		}
	}
}

func (s *site) document() (doc document, err error) {
	var session struct {
		Data map[string]json.RawMessage `json:"session_data"`
	}
	if err := s.call("GET", "/v1/tests/sessions/"+s.session, nil, &session); err != nil {
		return doc, err
	}
	var walk func(path string, node map[string]json.RawMessage) error
	walk = func(path string, node map[string]json.RawMessage) error {
		for key, raw := range node {
			switch {
			case key == "$count" && path == "heads":
				if err := json.Unmarshal(raw, &doc.heads); err != nil {
					return err
				}
			case key == "$entries":
				var entries []struct{ Dot, Value string }
				if err := json.Unmarshal(raw, &entries); err != nil {
					return err
				}
				for _, e := range entries {
					doc.values = append(doc.values, path+" "+e.Dot+" "+e.Value)
				}
			case !strings.HasPrefix(key, "$"):
				var below map[string]json.RawMessage
				if err := json.Unmarshal(raw, &below); err != nil {
					return err
				}
				if err := walk(strings.TrimPrefix(path+"/"+key, "/"), below); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = walk("", session.Data)
	slices.Sort(doc.values)
	return doc, err
}

// inspect returns everything that is not as it should be.
func inspect(session string, writers []*stormer, rows []row, doc document) (found []string) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	byActor := map[string]*stormer{}
	for _, w := range writers {
		byActor[w.actor] = w
	}
	type dot struct {
		actor string
		seq   int
	}
	held := map[dot]bool{}
	var heads int64
	live := map[string]string{} // path and dot -> value
	for i, r := range rows {
		if r.N != int64(i+1) {
			say("position %d follows %d", r.N, i)
		}
		var op struct {
			A string   `json:"a"`
			S int      `json:"s"`
			K string   `json:"k"`
			P string   `json:"p"`
			N int64    `json:"n"`
			V string   `json:"v"`
			X []string `json:"x"`
		}
		if err := json.Unmarshal(r.Line, &op); err != nil {
			say("position %d is no operation: %v", r.N, err)
			continue
		}
		d := dot{op.A, op.S}
		w := byActor[op.A]
		switch {
		case w == nil || op.S < 1 || op.S > len(w.journal):
			say("%s.%d: nobody sent it", op.A, op.S)
			continue
		case !bytes.Equal(w.journal[op.S-1], r.Line):
			say("%s.%d: another line than was sent", op.A, op.S)
		case held[d]:
			say("%s.%d is in the log twice", op.A, op.S)
		case op.S > 1 && !held[dot{op.A, op.S - 1}]:
			say("%s.%d comes before the one before it", op.A, op.S)
		}
		held[d] = true
		switch op.K {
		case "inc":
			heads += op.N
		case "put":
			for _, seen := range op.X {
				delete(live, op.P+" "+seen)
			}
			live[fmt.Sprintf("%s %s.%d", op.P, op.A, op.S)] = op.V
		}
	}
	for _, w := range writers {
		chain := sha256.Sum256([]byte(session + "\x00" + w.actor))
		for seq := 1; seq <= w.acked; seq++ {
			if !held[dot{w.actor, seq}] {
				say("%s.%d was acknowledged and is not in the log", w.actor, seq)
			}
			sum := sha256.Sum256(w.journal[seq-1])
			chain = sha256.Sum256(append(chain[:], sum[:]...))
			if chain != w.chains[seq] {
				say("%s: the chain breaks at %d", w.actor, seq)
			}
		}
	}
	values := make([]string, 0, len(live))
	for _, key := range slices.Sorted(maps.Keys(live)) {
		values = append(values, key+" "+live[key])
	}
	slices.Sort(values)
	if doc.heads != heads {
		say("heads: the document says %d, the log %d", doc.heads, heads)
	}
	if !slices.Equal(doc.values, values) {
		say("values: the document shows %d, the log leads to %d, or others", len(doc.values), len(values))
	}
	return found
}
