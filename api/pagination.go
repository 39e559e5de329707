package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// PageInput are the parameters of every list.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Most items in one page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; empty for the first page"`
}

// A page is one page of a list. Following next_cursor shows every item that
// existed when the first page was read exactly once, whatever is created
// meanwhile.
type page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor" doc:"Null on the last page"`
	HasMore    bool    `json:"has_more"`
}

// pageOutput is the answer of every list.
type pageOutput[T any] struct{ Body page[T] }

// An order is the direction in which a list runs. Ids are UUIDv7, so it is also
// the order of creation.
type order bool

const (
	newestFirst order = false
	oldestFirst order = true
)

// cursor is what next_cursor says: the list it belongs to, a digest of that
// list's filters and the last id shown. It needs no signature: the access rules
// are applied to every page anew.
type cursor struct {
	List    string `json:"l"`
	Filters string `json:"f"`
	After   string `json:"a"`
}

func (c cursor) encode() string {
	raw, err := json.Marshal(c)
	if err != nil {
		panic("api: internal error: " + err.Error()) // three strings always marshal
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// decodeCursor reads a cursor of the given list and filters; ids is what an id looks like.
func decodeCursor(text, list, filters string, ids *regexp.Regexp) (cursor, error) {
	refuse := func(detail string) (cursor, error) {
		return cursor{}, newProblem(http.StatusBadRequest, "The cursor is not one of this list.",
			FieldError{Pointer: "/cursor", In: "query", Detail: detail})
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return refuse("is not a cursor")
	}
	var c cursor
	if err := json.Unmarshal(raw, &c); err != nil || c.encode() != text || !ids.MatchString(c.After) {
		return refuse("is not a cursor")
	}
	if c.List != list {
		return refuse("belongs to another list")
	}
	if c.Filters != filters {
		return refuse("belongs to other filters; keep them while you turn pages")
	}
	return c, nil
}

// rowPage reads the cursor of a list that goes by row numbers, such as positions of a log, and
// returns how to make the next one, and the number to go on from: 0 for the first page.
func rowPage(name, text string, filters ...any) (next func(n int64) string, from int64, err error) {
	digest, err := digestOf(filters...)
	if err != nil {
		return nil, 0, err
	}
	if text != "" {
		at, err := decodeCursor(text, name, digest, rowNumber)
		if err != nil {
			return nil, 0, err
		}
		from, _ = strconv.ParseInt(at.After, 10, 64) // rowNumber matched
	}
	return func(n int64) string {
		return cursor{List: name, Filters: digest, After: strconv.FormatInt(n, 10)}.encode()
	}, from, nil
}

// digestOf names the filters of a list in its cursors.
func digestOf(filters ...any) (string, error) {
	raw, err := json.Marshal(filters)
	if err != nil {
		return "", fmt.Errorf("encode filters: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// A listing is one list operation: what to read and in which order.
type listing struct {
	collection string
	name       string         // of the list; a cursor of one list does not open another
	id         string         // the column that orders the list; "" is the id of collection
	ids        *regexp.Regexp // what an id looks like; nil for UUIDs
	order      order
	ownAccess  bool     // where says who may see what, because the record API is closed
	columns    []string // read only these; nil reads all
	where      []dbx.Expression
	filters    []any // the values behind where, for the cursor
}

// list reads one page of what the caller may see, as records, with the cursor of
// the next page or "".
func (c *call) list(in PageInput, l listing) ([]*core.Record, string, error) {
	var query *dbx.SelectQuery
	var err error
	if l.ownAccess {
		query = c.app.RecordQuery(l.collection).WithContext(c.ctx())
	} else if query, err = c.visible(l.collection); err != nil {
		return nil, "", err
	}
	if l.columns != nil {
		columns := make([]string, len(l.columns))
		for i, name := range l.columns {
			columns[i] = column(l.collection, name)
		}
		query.Select(columns...)
	}
	var records []*core.Record
	next, err := turn(query, in, l, &records, func(r *core.Record) string { return r.Id })
	return records, next, err
}

// turn reads one page of query into rows and returns the cursor of the next page or "".
func turn[R any](query *dbx.SelectQuery, in PageInput, l listing, rows *[]R, idOf func(R) string) (string, error) {
	digest, err := digestOf(l.filters...)
	if err != nil {
		return "", err
	}
	id, ids := cmp.Or(l.id, column(l.collection, collections.FieldID)), cmp.Or(l.ids, idPattern)
	op, direction := "<", " DESC"
	if l.order == oldestFirst {
		op, direction = ">", " ASC"
	}
	if in.Cursor != "" {
		at, err := decodeCursor(in.Cursor, l.name, digest, ids)
		if err != nil {
			return "", err
		}
		var after any = at.After
		if n, err := strconv.ParseInt(at.After, 10, 64); err == nil && l.ids != nil {
			after = n // a number is not compared as text
		}
		query.AndWhere(dbx.NewExp("[["+id+"]] "+op+" {:cursor_after}", dbx.Params{"cursor_after": after}))
	}
	for _, expr := range l.where {
		query.AndWhere(expr)
	}
	if err := query.OrderBy(id + direction).Limit(int64(in.Limit) + 1).All(rows); err != nil {
		return "", fmt.Errorf("list %s: %w", l.name, err)
	}
	if len(*rows) <= in.Limit {
		return "", nil
	}
	*rows = (*rows)[:in.Limit]
	return cursor{List: l.name, Filters: digest, After: idOf((*rows)[in.Limit-1])}.encode(), nil
}

// pageOf turns rows into the answer of a list.
func pageOf[R, T any](records []R, next string, view func(R) (T, error)) (*pageOutput[T], error) {
	out := &pageOutput[T]{Body: page[T]{Data: make([]T, 0, len(records)), HasMore: next != ""}}
	if next != "" {
		out.Body.NextCursor = &next
	}
	for _, r := range records {
		v, err := view(r)
		if err != nil {
			return nil, err
		}
		out.Body.Data = append(out.Body.Data, v)
	}
	return out, nil
}
