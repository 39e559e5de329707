package pgsync

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// cell is a column value as text that PostgreSQL casts to the column's type; nil is NULL.
type cell = *string

// wireTime is how a date travels and is compared: UTC with PostgreSQL's resolution, whatever the session's time zone.
const wireTime = "2006-01-02T15:04:05.000000Z"

// dateLayouts are the forms a PocketBase date column may hold; without a zone the value is UTC.
var dateLayouts = []string{"2006-01-02 15:04:05.999999999Z07:00", time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02"}

// sealedPattern is the form of a sealed value, for PostgreSQL; isSealed says the same.
const sealedPattern = `^gAAAA[A-Za-z0-9_-]+={0,2}$`

// digitsSafe is a length below which no number without exponent is beyond a float64.
const digitsSafe = 300

func isSealed(text string) bool {
	rest, ok := strings.CutPrefix(text, "gAAAA")
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, "="), "=")
	for i := range len(rest) {
		if c := rest[i]; (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return ok && rest != ""
}

// isUUID is true for a UUID in lower case.
func isUUID(text string) bool {
	for i := range len(text) {
		c := text[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(text) == 36
}

// valueError is a value that PostgreSQL cannot take or must not get. It never carries the value itself.
type valueError struct {
	sqlState string // what PostgreSQL says, or would say
	column   string
	message  string
}

func (e *valueError) Error() string { return e.column + ": " + e.message + " (" + e.sqlState + ")" }

// statePlaintext marks a sealed column that holds something other than ciphertext.
const statePlaintext = "plaintext_pii"

// stateNoColumn marks an image of another shape than the table's.
const stateNoColumn = "42703"

// decodeImage turns the image of a row into one cell per column of t. The error is a *valueError.
func decodeImage(t *Table, img []byte) ([]cell, error) {
	if !utf8.Valid(img) {
		// encoding/json would replace the bytes silently.
		return nil, &valueError{"22021", "row", "text is not valid UTF-8"}
	}
	values, ok := t.flatValues(string(img))
	if !ok {
		var err error
		if values, err = t.anyValues(img); err != nil {
			return nil, err
		}
	}
	cells := make([]cell, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		if values[i] == "" {
			return nil, &valueError{stateNoColumn, c.Name, "image lacks the column"}
		}
		value, err := c.wire(&values[i])
		if err != nil {
			return nil, err
		}
		cells[i] = value
	}
	return cells, nil
}

// flatValues takes an image apart as the triggers write it: the columns in their order, none of them a list or an object.
// It reports whether img is such an image.
func (t *Table) flatValues(img string) (values []string, ok bool) {
	j := jsonText{s: img}
	if !j.next('{') {
		return nil, false
	}
	values = make([]string, len(t.Columns))
	at := 0
	for first := true; !j.next('}'); first = false {
		if !first && !j.next(',') {
			return nil, false
		}
		name, plain, ok := j.text()
		if !ok || !plain || !j.next(':') {
			return nil, false
		}
		value, ok := j.scalar()
		if !ok {
			return nil, false
		}
		if at < len(t.Columns) && t.Columns[at].Name == name {
			values[at] = value
			at++
		} else if i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name }); i >= 0 {
			values[i] = value
		}
	}
	j.space()
	return values, j.i == len(img)
}

// anyValues takes any image apart.
func (t *Table) anyValues(img []byte) ([]string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(img, &all); err != nil {
		return nil, &valueError{"22P02", "row", "image is not JSON"}
	}
	values := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		values[i] = string(all[c.Name])
	}
	return values, nil
}

// wire converts one value of an image, which *value gives up for its wire form.
func (c *Column) wire(value *string) (cell, error) {
	if *value == "null" {
		return nil, nil
	}
	text := *value
	isText := text[0] == '"'
	if isText {
		j := jsonText{s: text}
		raw, plain, ok := j.text()
		if !ok {
			return nil, c.fail("22P02", "text is not JSON")
		}
		if text = raw; !plain {
			text = unescape(raw)
		}
		if c.Kind != KindEncrypted && strings.IndexByte(text, 0) >= 0 { // there it is no ciphertext in the first place
			return nil, c.fail("22021", "text holds a NUL character")
		}
	}
	text, null, err := c.wireText(text, isText)
	if err != nil || null {
		return nil, err
	}
	*value = text
	return value, nil
}

// wireText is the wire form of a value that is not null.
func (c *Column) wireText(text string, isText bool) (wire string, null bool, err error) {
	switch c.Kind {
	case KindText, KindSelect:
		return text, false, nil
	case KindEncrypted:
		if text != "" && !isSealed(text) {
			return "", false, c.fail(statePlaintext, "sealed column holds something other than ciphertext")
		}
		return text, false, nil
	case KindNumber, KindInteger:
		return c.wireNumber(text, isText)
	case KindBool:
		if isText {
			return "", false, c.fail("22P02", "not a boolean")
		}
		text = strconv.FormatBool(text != "0" && text != "false" && text != "0.0")
		return text, false, nil
	case KindDate:
		return c.wireDate(text)
	case KindJSON:
		if text == "" {
			return "", true, nil
		}
		if !isJSON(text) {
			return "", false, c.fail("22P02", "not JSON")
		}
		return text, false, nil
	case KindRelation:
		if text == "" {
			return "", true, nil
		}
		if c.TargetUUID && !isUUID(text) {
			return "", false, c.fail("22P02", "not a UUID")
		}
		return text, false, nil
	case KindBytes:
		if _, err := hex.DecodeString(text); err != nil {
			return "", false, c.fail("22P02", "not hexadecimal")
		}
		text = `\x` + strings.ToLower(text)
		return text, false, nil
	}
	return "", false, c.fail("0A000", "unknown kind "+string(c.Kind))
}

func (c *Column) wireNumber(text string, isText bool) (wire string, null bool, err error) {
	if isText {
		return "", false, c.fail("22P02", "not a number")
	}
	if j := (jsonText{s: text}); len(text) < digitsSafe && !strings.ContainsAny(text, "eE") {
		if _, ok := j.number(); ok && j.i == len(text) {
			return text, false, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		return "", false, c.fail("22P02", "not a number")
	}
	if math.IsInf(f, 0) {
		// SQLite has no JSON word for infinity and writes a number beyond the range.
		text = strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+") + "inity"
	}
	return text, false, nil
}

func (c *Column) wireDate(text string) (wire string, null bool, err error) {
	if text == "" {
		return "", true, nil
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil && t.UTC().Year() >= 1 {
			text = t.UTC().Truncate(time.Microsecond).Format(wireTime)
			return text, false, nil
		}
	}
	return "", false, c.fail("22007", "not a date")
}

func (c *Column) fail(sqlState, message string) error { return &valueError{sqlState, c.Name, message} }

// leaks is true when a sealed column of an image holds anything but ciphertext, whatever else is wrong with the row.
func (t *Table) leaks(img []byte) bool {
	if !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Kind == KindEncrypted }) {
		return false
	}
	values, ok := t.flatValues(string(img))
	if !ok {
		var err error
		if values, err = t.anyValues(img); err != nil {
			return true // nobody knows what is in it
		}
	}
	for i := range t.Columns {
		if c := &t.Columns[i]; c.Kind == KindEncrypted && values[i] != "" {
			if _, err := c.wire(&values[i]); err != nil {
				return true
			}
		}
	}
	return false
}

// redact replaces what a sealed column must not let out by a mark. It returns nil when img cannot be read.
func redact(t *Table, img []byte) []byte {
	var values map[string]json.RawMessage
	if json.Unmarshal(img, &values) != nil {
		return nil
	}
	for _, c := range t.Columns {
		if raw, ok := values[c.Name]; ok && c.Kind == KindEncrypted {
			value := string(raw)
			if _, err := c.wire(&value); err != nil {
				values[c.Name] = json.RawMessage(`"redacted: not sealed"`)
			}
		}
	}
	out, err := json.Marshal(values)
	if err != nil {
		return nil
	}
	return out
}

// checkKey refuses an id that the mirror's id column cannot hold.
func checkKey(t *Table, pk string) error {
	switch {
	case t.UUID && !isUUID(pk):
		return &valueError{"22P02", "id", "not a UUID"}
	case !utf8.ValidString(pk) || strings.ContainsRune(pk, 0):
		return &valueError{"22021", "id", "text is not valid"}
	}
	return nil
}

// safeText makes any bytes fit for a PostgreSQL text column; what was not text is quoted.
func safeText(s string) string {
	if utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	return fmt.Sprintf("%+q", s)
}
