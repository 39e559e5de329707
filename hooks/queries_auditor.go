package hooks

import (
	"strings"

	"firemode/collections"

	"github.com/ganigeorgiev/fexpr"
	"github.com/pocketbase/pocketbase/core"
)

// fieldsParam names the fields that an answer is to have.
const fieldsParam = "fields"

// checkFields refuses an auditor the modifiers of fields: a piece of an id is not replaced.
func checkFields(e *core.RequestEvent, fields string) error {
	if isAuditor(e.Auth) && modified(fields) {
		return wholeFieldsOnly(e)
	}
	return nil
}

func modified(fields string) bool { return strings.Contains(fields, ":") }

func wholeFieldsOnly(e *core.RequestEvent) error {
	return e.BadRequestError("An auditor reads fields whole, without modifiers.", nil)
}

// personFields are the fields that hold ids of accounts.
var personFields = map[string]bool{
	collections.FieldOwnerID: true, collections.FieldUserID: true, collections.FieldGrantedBy: true, collections.FieldCreatedBy: true,
	collections.FieldFlaggedBy: true, collections.FieldAcknowledgedBy: true, collections.FieldRevokedBy: true, collections.FieldResourceID: true,
}

// asksForWholeIDs reports whether a filter compares people by the whole id alone. Patterns and
// orders would spell an id out, character by character. PocketBase's own parser reads it, and
// what does not parse it refuses.
func asksForWholeIDs(filter string) bool {
	groups, err := fexpr.Parse(filter)
	return err != nil || wholeIDs(groups)
}

func wholeIDs(groups []fexpr.ExprGroup) bool {
	for _, g := range groups {
		switch item := g.Item.(type) {
		case fexpr.Expr:
			if (namesPeople(item.Left) || namesPeople(item.Right)) && !equality(item.Op) && !fitsNoID(item) {
				return false
			}
		case fexpr.ExprGroup:
			if !wholeIDs([]fexpr.ExprGroup{item}) {
				return false
			}
		case []fexpr.ExprGroup:
			if !wholeIDs(item) {
				return false
			}
		}
	}
	return true
}

func equality(op fexpr.SignOp) bool {
	return op == fexpr.SignEq || op == fexpr.SignNeq || op == fexpr.SignAnyEq || op == fexpr.SignAnyNeq
}

// fitsNoID reports whether a pattern has a character that no id of a user has, as most words of
// the admin UI's search have, which looks into every field. Where the id may be a superuser's,
// that is no letter.
func fitsNoID(e fexpr.Expr) bool {
	switch e.Op {
	case fexpr.SignLike, fexpr.SignNlike, fexpr.SignAnyLike, fexpr.SignAnyNlike:
	default:
		return false
	}
	name, _, _ := strings.Cut(e.Left.Literal, ":")
	if e.Left.Type != fexpr.TokenIdentifier || e.Right.Type != fexpr.TokenText || !personFields[name] {
		return false
	}
	foreign := "ghijklmnopqrstuvwxyz"
	if name == collections.FieldUserID || name == collections.FieldResourceID {
		foreign = " .,@/"
	}
	return strings.ContainsAny(strings.ToLower(e.Right.Literal), foreign)
}

// namesPeople reports whether a token is, or a function is given, a field that holds ids of
// accounts, with or without a modifier.
func namesPeople(t fexpr.Token) bool {
	if args, ok := t.Meta.([]fexpr.Token); ok {
		for _, arg := range args {
			if namesPeople(arg) {
				return true
			}
		}
	}
	if t.Type != fexpr.TokenIdentifier {
		return false
	}
	for _, part := range strings.Split(t.Literal, ".") {
		name, _, _ := strings.Cut(part, ":")
		if personFields[name] {
			return true
		}
	}
	return false
}
