package hooks

import (
	"strings"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/search"
	"github.com/pocketbase/pocketbase/tools/subscriptions"
)

// priorityQueries comes after the token of a request was checked.
const priorityQueries = apis.DefaultLoadAuthTokenMiddlewarePriority + 3

// listRecordsRoute is the only route that takes a filter and a sort. Subscriptions
// take a filter too.
const listRecordsRoute = "GET /api/collections/{collection}/records"

// registerQueries refuses filters and sorts of users that lead to several
// records at once: back along a relation, as in users_via_organisation_id, or
// along a relation with many values. PocketBase applies the access rules of
// what such a path leads to when it joins, but not to the comparison with all
// of them ("a != b"), so that a reader could ask for values of records that
// they may not see, and always for whether there are any. Expanding such
// relations shows what may be seen. To an auditor it refuses also what would
// tell the ids behind pseudonyms.
func registerQueries(app core.App) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.queries",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.queries", Priority: priorityQueries, Func: checkListQuery,
			})
			return se.Next()
		},
	})
	app.OnRealtimeSubscribeRequest().Bind(&hook.Handler[*core.RealtimeSubscribeRequestEvent]{
		Id: "firemode.queries.subscribe", Priority: priorityQueries, Func: checkSubscriptions,
	})
}

func checkListQuery(e *core.RequestEvent) error {
	query := e.Request.URL.Query()
	if err := checkFields(e, query.Get(fieldsParam)); err != nil {
		return err
	}
	if e.Request.Pattern != listRecordsRoute {
		return e.Next()
	}
	for _, name := range []string{search.FilterQueryParam, search.SortQueryParam} {
		if len(query[name]) > 1 {
			return e.BadRequestError("The parameter "+name+" is there more than once.", nil)
		}
	}
	err := checkQuery(e, e.Request.PathValue("collection"), query.Get(search.FilterQueryParam), query.Get(search.SortQueryParam))
	if err != nil {
		return err
	}
	return e.Next()
}

// checkSubscriptions reads the options of topics as PocketBase does, by its own client.
func checkSubscriptions(e *core.RealtimeSubscribeRequestEvent) error {
	reader := subscriptions.NewDefaultClient()
	reader.Subscribe(e.Subscriptions...)
	for topic, options := range reader.Subscriptions() {
		name, _, _ := strings.Cut(topic, "?")
		name, _, _ = strings.Cut(name, "/")
		err := checkFields(e.RequestEvent, options.Query[fieldsParam])
		if err == nil {
			err = checkQuery(e.RequestEvent, name, options.Query[search.FilterQueryParam], "")
		}
		if err != nil {
			return err
		}
	}
	return e.Next()
}

// checkQuery returns what is wrong with a filter and a sort of the caller, nil for none. What
// PocketBase refuses for its length or number is left to it.
func checkQuery(e *core.RequestEvent, collection, filter, sort string) error {
	if filter == "" && sort == "" || len(filter) > search.MaxFilterLength {
		return nil
	}
	if isAuditor(e.Auth) && !asksForWholeIDs(filter) {
		return e.BadRequestError("An auditor compares people with = and != only.", nil)
	}
	if e.HasSuperuserAuth() {
		return nil
	}
	c, err := e.App.FindCachedCollectionByNameOrId(collection)
	if err != nil {
		return nil // the route answers
	}
	paths := &pathReader{collection: c, resolver: core.NewRecordFieldResolver(e.App, c, &core.RequestInfo{Auth: e.Auth}, false)}
	// What does not parse, PocketBase refuses.
	if filter != "" {
		_, _ = search.FilterData(filter).BuildExpr(paths)
	}
	if fields := search.ParseSortFromString(sort); sort != "" && len(fields) <= search.DefaultSortExprLimit {
		for _, field := range fields {
			if len(field.Name) <= search.MaxSortFieldLength && paths.manifold == "" {
				_, _ = paths.Resolve(field.Name)
			}
		}
	}
	if paths.manifold != "" {
		return e.BadRequestError("A filter or sort follows relations to one record only; "+paths.manifold+" leads to several.", nil)
	}
	return nil
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
