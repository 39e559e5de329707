package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"firemode/crdt"
	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// sessionView is what sessions show prints as JSON.
type sessionView struct {
	*merge.Document
	Authors   []merge.LogActor     `json:"authors,omitempty"`
	Conflicts []merge.Conflict     `json:"conflicts"` // null when only the history was asked for
	Path      string               `json:"path,omitempty"`
	History   []merge.HistoryEntry `json:"history,omitempty"` // of path
}

// sessionParts is what to show of a session.
type sessionParts struct {
	path               string // "" for all fields
	conflicts, history bool   // only these; neither means all there is
}

// errHistoryOf: the history of a whole session is what export is for.
var errHistoryOf = errors.New("--history needs --path; the whole log is shown by sessions export")

func sessionsShowCommand(app core.App, deps Deps) *cobra.Command {
	var parts sessionParts
	var asJSON bool
	c := &cobra.Command{
		Use:   "show SESSION",
		Short: "Show a session's document, conflicts and history",
		Long: `Show the document of a session as its operation log leads to it, its authors with
the end of each one's history, and the fields that hold more than one value. With
--path, the conflict of that field alone, and every operation on it, newest first:
who wrote what, when, and having seen which operations. With --conflicts or
--history, these parts alone.`,
		Example: `  firemode sessions show 0199a3f2-b1c4-7000-8000-000000000000
  firemode sessions show 0199a3f2-b1c4-7000-8000-000000000000 --path items/FE-001/result
  firemode sessions show 0199a3f2-b1c4-7000-8000-000000000000 --conflicts --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := parts.check(); err != nil {
				return err
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			view, err := readSession(c, deps.Merge(app), args[0], parts)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), view)
			}
			return printSession(c.OutOrStdout(), view)
		},
	}
	c.Flags().StringVar(&parts.path, "path", "", "a field of the document, such as items/FE-001/result")
	c.Flags().BoolVar(&parts.conflicts, "conflicts", false, "show conflicts and not the document")
	c.Flags().BoolVar(&parts.history, "history", false, "show the history of --path and not the document")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// check makes path the form that documents use.
func (p *sessionParts) check() (err error) {
	switch {
	case p.path == "" && p.history:
		return errHistoryOf
	case p.path == "" || crdt.ValidPath(p.path):
		return nil
	}
	text := p.path
	if p.path, err = crdt.PathFromPointer(text); err != nil {
		return fmt.Errorf("--path %q: %w", text, err)
	}
	return nil
}

func readSession(c *cobra.Command, s *merge.Service, id string, parts sessionParts) (view sessionView, err error) {
	document, err := s.Document(c.Context(), id)
	if err != nil {
		return view, sessionError(id, err)
	}
	all := !parts.conflicts && !parts.history
	if all {
		view.Document = &document
		if view.Authors, err = s.Authors(c.Context(), id); err != nil {
			return view, sessionError(id, err)
		}
	}
	view.Path = parts.path
	if parts.path != "" && (all || parts.history) {
		if view.History, err = s.History(c.Context(), id, parts.path, 0, 0); err != nil {
			return view, sessionError(id, err)
		}
	}
	if all || parts.conflicts {
		if view.Conflicts, err = s.Conflicts(c.Context(), id); err != nil {
			return view, sessionError(id, err)
		}
		if parts.path != "" {
			view.Conflicts = slices.DeleteFunc(view.Conflicts, func(f merge.Conflict) bool { return f.Path != parts.path })
		}
	}
	return view, nil
}

func printSession(out io.Writer, v sessionView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if v.Document != nil {
		var data bytes.Buffer
		if err := json.Indent(&data, v.Data, "", "  "); err != nil {
			return fmt.Errorf("read document: %w", err)
		}
		fmt.Fprintf(out, "session   %s\nstatus    %s\nposition  %d\n\n%s\n", v.SessionID, v.Status, v.ServerSeq, data.Bytes())
	}
	if len(v.Authors) > 0 {
		fmt.Fprintln(w, "\nauthor\tuser\ton\tlast\tchain\tremarks")
	}
	for _, a := range v.Authors {
		revoked := ""
		if a.Revoked {
			revoked = "revoked"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", a.Actor, orDash(a.User), orDash(a.Device), a.Seq, a.Chain, revoked)
	}
	if len(v.Conflicts) > 0 {
		fmt.Fprintln(w, "\nconflict\tvalue\twritten by\ton\tat\toperation\thaving seen")
	}
	for _, f := range v.Conflicts {
		for _, e := range f.Entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Path, e.Value, orDash(e.UserID), orDash(e.Device), e.Time, e.Dot, orDash(strings.Join(e.Seen, " ")))
		}
		if more := f.Count - len(f.Entries); more > 0 {
			fmt.Fprintf(w, "%s\tand %d more\t\t\t\t\t\n", f.Path, more)
		}
	}
	if v.Document == nil && v.Conflicts != nil && len(v.Conflicts) == 0 {
		fmt.Fprintln(w, "no conflicts")
	}
	if len(v.History) > 0 {
		fmt.Fprintf(w, "\nposition\toperation\tvalue\twritten by\ton\tat\thaving seen\tremarks\n")
	}
	for _, e := range v.History {
		fmt.Fprintf(w, "%d\t%s %s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.N, e.Kind, e.Dot, e.Value, orDash(e.UserID), orDash(e.Device), e.Time,
			orDash(strings.Join(e.Seen, " ")), remarks(e))
	}
	if v.History != nil && len(v.History) == 0 {
		fmt.Fprintf(w, "nobody has written to %s\n", v.Path)
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// remarks are what a reader of the history must not overlook.
func remarks(e merge.HistoryEntry) string {
	var list []string
	for _, r := range []struct {
		word string
		is   bool
	}{{"stands", e.Live}, {"late", e.Late}, {"quarantined", e.Quarantined}, {"admitted", e.Admitted}, {"erased", e.Redacted}, {"clock off", e.ClockOff}, {"reason: " + e.Reason, e.Reason != ""}} {
		if r.is {
			list = append(list, r.word)
		}
	}
	return strings.Join(list, ", ")
}
