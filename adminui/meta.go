package adminui

import (
	"encoding/json"
	"fmt"
	"slices"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// metaKeys is what a restricted role learns about a collection: enough to draw
// a list. Access rules, indexes, token and login options are left out.
var metaKeys = []string{"id", "name", "type", "system", "created", "updated"}

// registerCollectionsMeta filters the collections that the UI loads at login.
func registerCollectionsMeta(app core.App) {
	app.OnCollectionsListRequest().Bind(&hook.Handler[*core.CollectionsListRequestEvent]{
		Id: "firemode.adminui.collections", Priority: priorityWithhold,
		Func: func(e *core.CollectionsListRequestEvent) error {
			s, ok := restricted(e.Auth)
			if !ok {
				return e.Next()
			}
			items := []map[string]any{}
			for _, c := range e.Collections {
				if !s.may(c.Name, actionList) {
					continue
				}
				item, err := s.describe(e.App, c)
				if err != nil {
					return err
				}
				items = append(items, item)
			}
			e.Result.Items = items
			if e.Result.TotalItems > len(items) {
				e.Result.TotalItems = len(items)
			}
			return e.Next()
		},
	})
}

// describe is the collection as the subject may know it. A relation into a
// closed collection, and a file that may not be downloaded, are described as plain
// text, so that the UI shows the id or name and does not ask for what is behind. A sealed field stays, so that the list
// can show that there is something.
func (s subject) describe(app core.App, c *core.Collection) (map[string]any, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("describe collection %s: %w", c.Name, err)
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("describe collection %s: %w", c.Name, err)
	}
	out := map[string]any{"listRule": nil, "viewRule": nil, "createRule": nil, "updateRule": nil, "deleteRule": nil, "indexes": []string{}}
	for _, k := range metaKeys {
		out[k] = all[k]
	}
	fields := []any{}
	described, _ := all["fields"].([]any)
	for i, f := range c.Fields {
		switch relation, isRelation := f.(*core.RelationField); {
		case i >= len(described):
		case f.Type() == collections.EncryptedFieldType:
			fields = append(fields, minimal(f, f.Type()))
		case slices.Contains(s.withheld(c), f.GetName()):
		case isRelation && !s.mayFollow(app, relation),
			f.Type() == core.FieldTypeFile && !s.may(c.Name, actionFile):
			fields = append(fields, minimal(f, core.FieldTypeText))
		default:
			fields = append(fields, described[i])
		}
	}
	out["fields"] = fields
	return out, nil
}

// minimal describes a field as no more than its name and kind.
func minimal(f core.Field, kind string) map[string]any {
	return map[string]any{"id": f.GetId(), "name": f.GetName(), "type": kind, "system": f.GetSystem(), "hidden": f.GetHidden()}
}

func (s subject) mayFollow(app core.App, relation *core.RelationField) bool {
	target, err := app.FindCachedCollectionByNameOrId(relation.CollectionId)
	return err == nil && s.may(target.Name, actionView)
}
