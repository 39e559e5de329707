package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// sessionView is what sessions show prints as JSON.
type sessionView struct {
	merge.Document
	Conflicts []merge.Conflict     `json:"conflicts"`
	Path      string               `json:"path,omitempty"`
	History   []merge.HistoryEntry `json:"history,omitempty"` // of path
}

func sessionsShowCommand(app core.App, deps Deps) *cobra.Command {
	var path string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show SESSION",
		Short: "Show a session's document, conflicts and history",
		Long: `Show the document of a session as its operation log leads to it, and the fields
that hold more than one value. With --path, every operation on that field too,
newest first: who wrote what, when, and having seen which operations.`,
		Example: `  firemode sessions show 0199a3f2-b1c4-7000-8000-000000000000
  firemode sessions show 0199a3f2-b1c4-7000-8000-000000000000 --path items/FE-001/result`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			view, err := readSession(c, deps.Merge(app), args[0], path)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), view)
			}
			return printSession(c.OutOrStdout(), view)
		},
	}
	c.Flags().StringVar(&path, "path", "", "a field of the document, such as items/FE-001/result")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func readSession(c *cobra.Command, s *merge.Service, id, path string) (view sessionView, err error) {
	if view.Document, err = s.Document(c.Context(), id); err != nil {
		return view, sessionError(id, err)
	}
	if view.Conflicts, err = s.Conflicts(c.Context(), id); err != nil {
		return view, sessionError(id, err)
	}
	if path == "" {
		return view, nil
	}
	view.Path = path
	view.History, err = s.History(c.Context(), id, path, 0)
	if invalid := new(merge.InvalidError); errors.As(err, &invalid) {
		return view, fmt.Errorf("--path %q: %s", path, invalid.Detail)
	}
	return view, err
}

func printSession(out io.Writer, v sessionView) error {
	var data bytes.Buffer
	if err := json.Indent(&data, v.Data, "", "  "); err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	fmt.Fprintf(out, "session   %s\nstatus    %s\nposition  %d\n\n%s\n", v.SessionID, v.Status, v.ServerSeq, data.Bytes())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(v.Conflicts) > 0 {
		fmt.Fprintln(w, "\nconflict\tvalue\twritten by\ton\tat\toperation")
	}
	for _, f := range v.Conflicts {
		for _, e := range f.Entries {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Path, e.Value, e.UserID, orDash(e.Device), e.Time, e.Dot)
		}
		if more := f.Count - len(f.Entries); more > 0 {
			fmt.Fprintf(w, "%s\tand %d more\t\t\t\t\n", f.Path, more)
		}
	}
	if v.Path != "" {
		fmt.Fprintf(w, "\nposition\toperation\tvalue\twritten by\ton\tat\thaving seen\tremarks\n")
	}
	for _, e := range v.History {
		fmt.Fprintf(w, "%d\t%s %s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.N, e.Kind, e.Dot, e.Value, e.UserID, orDash(e.Device), e.Time,
			orDash(strings.Join(e.Seen, " ")), remarks(e))
	}
	if v.Path != "" && len(v.History) == 0 {
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
	}{{"stands", e.Live}, {"late", e.Late}, {"quarantined", e.Quarantined}} {
		if r.is {
			list = append(list, r.word)
		}
	}
	return strings.Join(list, ", ")
}
