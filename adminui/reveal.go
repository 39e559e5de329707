package adminui

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// revealPath answers one sealed value to an officer who says why.
const revealPath = "/api/firemode/compliance/reveal"

const (
	// reasonMin keeps "x" out of the log; reasonMax is a long sentence or three.
	reasonMin = 10
	reasonMax = 500
	// revealsMax in revealsWindow lets a person work through a list and stops
	// one who copies it.
	revealsMax    = 30
	revealsWindow = 10 * time.Minute
)

// actionReveal is the audit action of a reveal.
const actionReveal = "reveal"

type revealRequest struct {
	Collection string `json:"collection"`
	ID         string `json:"id"`
	Field      string `json:"field"`
	Reason     string `json:"reason"`
}

// bindReveal mounts the route. The entry in the audit log is stored before the
// value leaves: when it cannot be written, nothing is shown.
func bindReveal(se *core.ServeEvent, config Config) {
	limit := &revealLimit{now: config.Now, taken: map[string][]time.Time{}}
	se.Router.POST(revealPath, func(e *core.RequestEvent) error {
		if e.Auth == nil {
			return e.UnauthorizedError("Log in to see a sealed value.", nil)
		}
		if !mayReveal(e.Auth) {
			return refuse(e)
		}
		var request revealRequest
		if err := e.BindBody(&request); err != nil {
			return e.BadRequestError("The request is not readable.", err)
		}
		request.Reason = strings.TrimSpace(request.Reason)
		if n := utf8.RuneCountInString(request.Reason); n < reasonMin || n > reasonMax {
			return e.BadRequestError(fmt.Sprintf("Say why you need this value, in %d to %d characters.", reasonMin, reasonMax), nil)
		}
		record, field, err := findSealed(e, request)
		if err != nil {
			return err
		}
		if wait := limit.take(e.Auth.Id); wait > 0 {
			e.Response.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			return e.TooManyRequestsError("You have opened many sealed values. Wait before you open the next one.", nil)
		}
		if err := recordReveal(e, config.Actor(e), record.Collection().Name, request); err != nil {
			return err
		}
		if err := field.UnsealError(record); err != nil {
			e.App.Logger().Error("reveal sealed value", "collection", request.Collection, "field", request.Field, "record", record.Id, "error", err)
			return e.InternalServerError("This value does not open with the keys of this server. It is kept as it is.", nil)
		}
		e.Response.Header().Set("Cache-Control", "no-store")
		return e.JSON(http.StatusOK, map[string]string{"value": record.GetString(field.Name)})
	})
}

// mayReveal admits officers, and administrators, who receive sealed values
// anyway but may choose to leave a trace.
func mayReveal(auth *core.Record) bool {
	if !auth.IsSuperuser() {
		return false
	}
	s, held := restricted(auth)
	return !held || s.role == collections.RoleOfficer
}

// findSealed returns the record and the sealed field that a request names.
func findSealed(e *core.RequestEvent, request revealRequest) (*core.Record, *collections.EncryptedField, error) {
	c, err := e.App.FindCachedCollectionByNameOrId(request.Collection)
	if err != nil {
		return nil, nil, refuse(e)
	}
	if s, held := restricted(e.Auth); held && !s.may(c.Name, actionView) {
		return nil, nil, refuse(e)
	}
	field, ok := c.Fields.GetByName(request.Field).(*collections.EncryptedField)
	if !ok {
		return nil, nil, e.BadRequestError("This field is not sealed.", nil)
	}
	record, err := e.App.FindRecordById(c, request.ID)
	if err != nil {
		return nil, nil, e.NotFoundError("", nil)
	}
	return record, field, nil
}

// recordReveal writes who opened what and why. The value itself stays out.
func recordReveal(e *core.RequestEvent, actor audit.Actor, collection string, request revealRequest) error {
	err := e.App.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, actor)()
		_, err := audit.Append(tx, audit.Entry{
			Action: actionReveal, ResourceType: collection, ResourceID: request.ID,
			New: map[string]string{"field": request.Field, "reason": request.Reason},
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("record reveal: %w", err)
	}
	return nil
}

// superuserActor is who sent a request, when the program names nobody.
func superuserActor(e *core.RequestEvent) audit.Actor {
	actor := audit.Actor{IP: e.RealIP(), UserAgent: e.Request.UserAgent()}
	if e.Auth != nil {
		actor.ID, actor.Collection = e.Auth.Id, e.Auth.Collection().Name
		actor.Role = "superuser:" + e.Auth.GetString(collections.FieldRole)
	}
	return actor
}

// revealLimit counts each person's reveals in this process.
type revealLimit struct {
	now func() time.Time

	mu    sync.Mutex // guards taken
	taken map[string][]time.Time
}

// take uses up one reveal, or returns how long to wait for the next.
func (l *revealLimit) take(id string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	recent := l.taken[id][:0]
	for _, at := range l.taken[id] {
		if now.Sub(at) < revealsWindow {
			recent = append(recent, at)
		}
	}
	l.taken[id] = recent
	if len(recent) >= revealsMax {
		return revealsWindow - now.Sub(recent[0])
	}
	l.taken[id] = append(recent, now)
	return 0
}
