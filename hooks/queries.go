package hooks

import (
	"strings"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/search"
)

// priorityQueries comes after the token of a request was checked.
const priorityQueries = apis.DefaultLoadAuthTokenMiddlewarePriority + 3

// listRecordsRoute is the only route that takes a filter and a sort.
const listRecordsRoute = "GET /api/collections/{collection}/records"

// registerQueries refuses filters and sorts of users that lead to several
// records at once: back along a relation, as in users_via_organisation_id, or
// along a relation with many values. PocketBase applies the access rules of
// what such a path leads to when it joins, but not to the comparison with all
// of them ("a != b"), so that a reader could ask for values of records that
// they may not see, and always for whether there are any. Expanding such
// relations shows what may be seen.
func registerQueries(app core.App) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.queries",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.queries", Priority: priorityQueries, Func: refuseManifold,
			})
			return se.Next()
		},
	})
}

func refuseManifold(e *core.RequestEvent) error {
	if e.Request.Pattern != listRecordsRoute || e.HasSuperuserAuth() {
		return e.Next()
	}
	c, err := e.App.FindCachedCollectionByNameOrId(e.Request.PathValue("collection"))
	if err != nil {
		return e.Next() // the route answers
	}
	query := e.Request.URL.Query()
	paths := &pathReader{collection: c, resolver: core.NewRecordFieldResolver(e.App, c, &core.RequestInfo{Auth: e.Auth}, false)}
	// All values of a repeated parameter are read, whichever PocketBase takes. What
	// does not parse, PocketBase refuses.
	for _, filter := range query[search.FilterQueryParam] {
		_, _ = search.FilterData(filter).BuildExpr(paths)
	}
	for _, sort := range query[search.SortQueryParam] {
		for _, field := range search.ParseSortFromString(sort) {
			_, _ = paths.Resolve(field.Name)
		}
	}
	if paths.manifold != "" {
		return e.BadRequestError("A filter or sort follows relations to one record only; "+paths.manifold+" leads to several.", nil)
	}
	return e.Next()
}

// pathReader notes the first path that leads to several records, while
// PocketBase's own parser and resolver read a filter: it understands every path
// as they do.
type pathReader struct {
	collection *core.Collection
	resolver   *core.RecordFieldResolver
	manifold   string
}

// UpdateQuery implements search.FieldResolver.
func (r *pathReader) UpdateQuery(*dbx.SelectQuery) error { return nil }

// Resolve implements search.FieldResolver.
func (r *pathReader) Resolve(path string) (*search.ResolverResult, error) {
	result, err := r.resolver.Resolve(path)
	if head, _, deep := strings.Cut(path, "."); deep && err == nil && result.MultiMatchSubQuery != nil && r.manifold == "" {
		// Several values inside a record's own JSON are no other records.
		if f := r.collection.Fields.GetByName(head); f == nil || f.Type() == core.FieldTypeRelation {
			r.manifold = path
		}
	}
	return result, err
}
