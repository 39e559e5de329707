package adminui

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/search"
)

// pathsMax bounds how many field paths one request may name.
const pathsMax = 200

// pathDepthMax is PocketBase's own limit of nested relations.
const pathDepthMax = 6

// mayQuery reports whether every field that filter, sort and expand reach lies
// in a collection that the subject may view and is not withheld. Superusers
// pass PocketBase's own checks of these, so this is the only one. All values of
// a repeated parameter are checked, whichever of them PocketBase reads.
func (s subject) mayQuery(app core.App, c *core.Collection, query url.Values) bool {
	var paths []string
	for _, filter := range query[search.FilterQueryParam] {
		found, err := filterPaths(filter)
		if err != nil {
			return false
		}
		paths = append(paths, found...)
	}
	for _, sort := range query[search.SortQueryParam] {
		for _, field := range search.ParseSortFromString(sort) {
			if field.Name != "" && field.Name != "@rowid" && field.Name != "@random" {
				paths = append(paths, field.Name)
			}
		}
	}
	if len(paths) > pathsMax {
		return false
	}
	for _, path := range paths {
		if !s.mayReach(app, c, path, false) {
			return false
		}
	}
	for _, expand := range query["expand"] {
		for path := range strings.SplitSeq(expand, ",") {
			if path = strings.TrimSpace(path); path != "" && !s.mayReach(app, c, path, true) {
				return false
			}
		}
	}
	return true
}

// errTooManyPaths stops the collection of paths early.
var errTooManyPaths = errors.New("too many field paths")

// pathCollector takes down the field paths of a filter while PocketBase's own
// parser reads it, so that the guard never understands a filter differently.
type pathCollector struct{ paths []string }

func (p *pathCollector) UpdateQuery(*dbx.SelectQuery) error { return nil }

func (p *pathCollector) Resolve(path string) (*search.ResolverResult, error) {
	if len(p.paths) >= pathsMax {
		return nil, errTooManyPaths
	}
	p.paths = append(p.paths, path)
	return &search.ResolverResult{Identifier: "id"}, nil
}

func filterPaths(filter string) ([]string, error) {
	if filter == "" {
		return nil, nil
	}
	collector := &pathCollector{}
	if _, err := search.FilterData(filter).BuildExpr(collector); err != nil {
		return nil, err
	}
	return collector.paths, nil
}

// backRelation is PocketBase's spelling of "records that refer to this one".
var backRelation = regexp.MustCompile(`^(\w+)_via_(\w+)$`)

// mayReach walks one path from c. In an expand every step is a relation; in a
// filter the last step is a field. Anything unusual, such as @collection or
// @request, is not a field of c and therefore refused.
func (s subject) mayReach(app core.App, c *core.Collection, path string, expand bool) bool {
	steps := strings.Split(path, ".")
	if len(steps) > pathDepthMax+1 && expand {
		return false
	}
	for i, step := range steps {
		last := i == len(steps)-1
		if last && !expand {
			step, _, _ = strings.Cut(step, ":") // modifiers stand on the last step only
		}
		field := c.Fields.GetByName(step)
		if field == nil {
			next := backRelated(app, c, step)
			if next == nil || last && !expand || !s.may(next.Name, actionView) {
				return false
			}
			c = next
			continue
		}
		if s.withholds(c, field) {
			return false
		}
		relation, isRelation := field.(*core.RelationField)
		switch {
		case last && !expand:
			return true
		case isRelation:
			next, err := app.FindCachedCollectionByNameOrId(relation.CollectionId)
			if err != nil || !s.may(next.Name, actionView) {
				return false
			}
			c = next
		case !expand && (field.Type() == core.FieldTypeJSON || field.Type() == core.FieldTypeGeoPoint):
			return true // the rest is a path inside the value
		default:
			return false
		}
	}
	return true
}

// backRelated returns the collection behind "x_via_field", or nil.
func backRelated(app core.App, c *core.Collection, step string) *core.Collection {
	parts := backRelation.FindStringSubmatch(step)
	if parts == nil {
		return nil
	}
	next, err := app.FindCachedCollectionByNameOrId(parts[1])
	if err != nil {
		return nil
	}
	relation, ok := next.Fields.GetByName(parts[2]).(*core.RelationField)
	if !ok || relation.Hidden || relation.CollectionId != c.Id {
		return nil
	}
	return next
}

func (s subject) withholds(c *core.Collection, field core.Field) bool {
	for _, name := range s.withheld(c) {
		if name == field.GetName() {
			return true
		}
	}
	return false
}
