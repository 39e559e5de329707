package merge

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"firemode/crdt"
)

const (
	// ReasonsPath is where a document keeps the reasons people gave: a log, so that two
	// reasons never contend.
	ReasonsPath = "notes/reasons"
	// ReasonMaxBytes bounds one reason.
	ReasonMaxBytes = 2000
)

// reason is one entry under ReasonsPath: why its author wrote the operations from First to
// Last.
type reason struct {
	First  string `json:"first"`
	Last   string `json:"last"`
	Reason string `json:"reason"`
}

func checkReason(text string) error {
	switch {
	case len(text) > ReasonMaxBytes:
		return &InvalidError{Pointer: "/reason", Detail: fmt.Sprintf("at most %d bytes", ReasonMaxBytes)}
	case !utf8.ValidString(text):
		return &InvalidError{Pointer: "/reason", Detail: "not text"}
	}
	return nil
}

// checkNamed checks a decision about the operations that it names.
func checkNamed(reason string, dots []string, dotsMax int, what string) error {
	switch {
	case strings.TrimSpace(reason) == "":
		return &InvalidError{Pointer: "/reason", Detail: "missing"}
	case len(dots) == 0:
		return &InvalidError{Pointer: "/dots", Detail: "name the operations"}
	case len(dots) > dotsMax:
		return &LimitError{What: what, Max: dotsMax}
	}
	return checkReason(reason)
}

// reasonNote is the change that keeps text with ops.
func reasonNote(text string, ops []crdt.Op) Change {
	value, err := json.Marshal(reason{First: ops[0].Dot.String(), Last: ops[len(ops)-1].Dot.String(), Reason: text})
	if err != nil {
		panic("merge: internal error: encode reason: " + err.Error()) // three strings always encode
	}
	return Change{Op: OpAppend, Path: ReasonsPath, Value: value}
}

// reasons are the notes of a document, for looking up operations.
type reasons []struct {
	first, last crdt.Dot
	text        string
}

// reasonsOf reads the notes of a document. One about somebody else's operations, which a
// device may have written by itself, is passed over.
func reasonsOf(state *crdt.Doc) (list reasons) {
	for _, e := range state.Values(ReasonsPath) {
		var r reason
		if json.Unmarshal([]byte(e.Val), &r) != nil {
			continue
		}
		first, ok := crdt.ParseDot(r.First)
		last, ok2 := crdt.ParseDot(r.Last)
		if ok && ok2 && first.Actor == e.Dot.Actor && last.Actor == e.Dot.Actor {
			list = append(list, struct {
				first, last crdt.Dot
				text        string
			}{first, last, r.Reason})
		}
	}
	return list
}

// of returns the reason given for the operation, or "".
func (list reasons) of(dot crdt.Dot) string {
	for _, r := range list {
		if r.first.Actor == dot.Actor && r.first.Seq <= dot.Seq && dot.Seq <= r.last.Seq {
			return r.text
		}
	}
	return ""
}
