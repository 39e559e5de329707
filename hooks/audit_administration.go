package hooks

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"firemode/audit"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// Resource types of the entries below; what they name is not a record.
const (
	resourceSettings = "settings"
	resourceBackups  = "backups"
	resourceCrons    = "crons"
	resourceSQL      = "sql"

	// resourceNameMax is what a column of the log holds, bytes.
	resourceNameMax = 255
)

// An administrativeAct is an act of an administrator that saves no record and for
// which PocketBase has no hook that joins a transaction.
type administrativeAct struct{ action, resource, key string } // key is the path value that names it

var administrativeActs = map[string]administrativeAct{
	"POST /api/backups":               {"create", resourceBackups, ""},
	"POST /api/backups/upload":        {"upload", resourceBackups, ""},
	"GET /api/backups/{key}":          {"download", resourceBackups, "key"},
	"DELETE /api/backups/{key}":       {"delete", resourceBackups, "key"},
	"POST /api/backups/{key}/restore": {"restore", resourceBackups, "key"},
	"POST /api/crons/{id}":            {"run", resourceCrons, "id"},
	"POST /api/sql":                   {"run", resourceSQL, ""},
}

// registerAdministrationAudit records what administrators do beside records: the
// settings with what changed, in the transaction of the change, and the rest
// before it begins, so that no such act can happen without its entry. The entry
// of a restore is in the log that the restore replaces, and in the server's log.
func registerAdministrationAudit(app core.App) {
	app.OnSettingsUpdateRequest().Bind(&hook.Handler[*core.SettingsUpdateRequestEvent]{
		Id: "firemode.audit.settings", Priority: priorityAudit,
		Func: func(e *core.SettingsUpdateRequestEvent) error {
			return inTx(&e.App, func() error { return updateSettings(e) })
		},
	})
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.audit.administration",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.audit.administration", Priority: math.MaxInt, // after every guard and limit
				Func: auditAdministration,
			})
			return se.Next()
		},
	})
}

func updateSettings(e *core.SettingsUpdateRequestEvent) error {
	before, err := settingsValues(e.App, e.OldSettings)
	if err != nil {
		return err
	}
	if err := e.Next(); err != nil {
		return err
	}
	after, err := settingsValues(e.App, e.NewSettings)
	if err != nil {
		return err
	}
	stored := "stored"
	old, new := changed(before, after)
	if len(old) == 0 {
		return nil
	}
	if _, differs := old[stored]; differs {
		delete(old, stored)
		delete(new, stored)
		if len(old) == 0 {
			new["secrets"] = "changed"
		}
	}
	defer audit.Attribute(e.App, ActorOf(e.RequestEvent))()
	_, err = audit.Append(e.App, audit.Entry{Action: "update", ResourceType: resourceSettings, Old: old, New: new})
	return err
}

// settingsValues are the settings as an administrator is shown them, without any
// secret, and under "stored" all of them as they are stored, to be compared and
// not to be kept.
func settingsValues(app core.App, s *core.Settings) (map[string]any, error) {
	shown, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode settings: %w", err)
	}
	values := map[string]any{}
	if err := json.Unmarshal(shown, &values); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	row, err := s.DBExport(app)
	if err != nil {
		return nil, fmt.Errorf("export settings: %w", err)
	}
	values["stored"] = fmt.Sprintf("%s", row["value"])
	return values, nil
}

// auditAdministration records one of administrativeActs before its handler runs.
func auditAdministration(e *core.RequestEvent) error {
	act, known := administrativeActs[e.Request.Pattern]
	if !known {
		return e.Next()
	}
	who := e.Auth
	if act.action == "download" {
		// This route alone is opened by a file token, which PocketBase checks later.
		who, _ = e.App.FindAuthRecordByToken(e.Request.URL.Query().Get("token"), core.TokenTypeFile)
	}
	if who == nil || !who.IsSuperuser() {
		return e.Next() // the handler refuses it
	}
	name := e.Request.PathValue(act.key)
	if !utf8.ValidString(name) || strings.ContainsRune(name, 0) || len(name) > resourceNameMax {
		return e.NotFoundError("", nil) // no such thing can be there
	}
	err := e.App.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, actor(e, who))()
		_, err := audit.Append(tx, audit.Entry{Action: act.action, ResourceType: act.resource, ResourceID: name})
		return err
	})
	if err != nil {
		return err
	}
	if act.action == "restore" {
		e.App.Logger().Warn("a backup is being restored", "key", e.Request.PathValue(act.key), "by", who.Id)
	}
	return e.Next()
}
