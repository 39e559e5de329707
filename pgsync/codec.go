package pgsync

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
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

var (
	uuidText    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	sealedToken = regexp.MustCompile(`^gAAAA[A-Za-z0-9_-]+={0,2}$`)
)

// valueError is a value that PostgreSQL cannot take or must not get. It never carries the value itself.
type valueError struct {
	sqlState string // what PostgreSQL says, or would say
	column   string
	message  string
}

func (e *valueError) Error() string { return e.column + ": " + e.message + " (" + e.sqlState + ")" }

// statePlaintext marks a sealed column that holds something other than ciphertext.
const statePlaintext = "plaintext_pii"

// decodeImage turns the image of a row into one cell per column of t. The error is a *valueError.
func decodeImage(t *Table, img []byte) ([]cell, error) {
	if !utf8.Valid(img) {
		// encoding/json would replace the bytes silently.
		return nil, &valueError{"22021", "row", "text is not valid UTF-8"}
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(img, &values); err != nil {
		return nil, &valueError{"22P02", "row", "image is not JSON"}
	}
	cells := make([]cell, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		raw, ok := values[c.Name]
		if !ok {
			return nil, &valueError{"42703", c.Name, "image lacks the column"}
		}
		value, err := c.wire(raw)
		if err != nil {
			return nil, err
		}
		cells[i] = value
	}
	return cells, nil
}

// wire converts one value of an image.
func (c *Column) wire(raw json.RawMessage) (cell, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	text := string(raw)
	isText := raw[0] == '"'
	if isText {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, c.fail("22P02", "text is not JSON")
		}
		if strings.ContainsRune(text, 0) {
			return nil, c.fail("22021", "text holds a NUL character")
		}
	}
	switch c.Kind {
	case KindText, KindSelect:
		return &text, nil
	case KindEncrypted:
		if text != "" && !sealedToken.MatchString(text) {
			return nil, c.fail(statePlaintext, "sealed column holds something other than ciphertext")
		}
		return &text, nil
	case KindNumber, KindInteger:
		return c.wireNumber(text, isText)
	case KindBool:
		if isText {
			return nil, c.fail("22P02", "not a boolean")
		}
		text = strconv.FormatBool(text != "0" && text != "false" && text != "0.0")
		return &text, nil
	case KindDate:
		return c.wireDate(text)
	case KindJSON:
		if text == "" {
			return nil, nil
		}
		if !json.Valid([]byte(text)) {
			return nil, c.fail("22P02", "not JSON")
		}
		return &text, nil
	case KindRelation:
		if text == "" {
			return nil, nil
		}
		if c.TargetUUID && !uuidText.MatchString(text) {
			return nil, c.fail("22P02", "not a UUID")
		}
		return &text, nil
	case KindBytes:
		if _, err := hex.DecodeString(text); err != nil {
			return nil, c.fail("22P02", "not hexadecimal")
		}
		text = `\x` + strings.ToLower(text)
		return &text, nil
	}
	return nil, c.fail("0A000", "unknown kind "+string(c.Kind))
}

func (c *Column) wireNumber(text string, isText bool) (cell, error) {
	if isText {
		return nil, c.fail("22P02", "not a number")
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, c.fail("22P02", "not a number")
	}
	if math.IsInf(f, 0) {
		// SQLite has no JSON word for infinity and writes a number beyond the range.
		text = strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+") + "inity"
	}
	return &text, nil
}

func (c *Column) wireDate(text string) (cell, error) {
	if text == "" {
		return nil, nil
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, text); err == nil && t.UTC().Year() >= 1 {
			text = t.UTC().Truncate(time.Microsecond).Format(wireTime)
			return &text, nil
		}
	}
	return nil, c.fail("22007", "not a date")
}

func (c *Column) fail(sqlState, message string) error { return &valueError{sqlState, c.Name, message} }

// redact replaces what a sealed column must not let out by a mark. It returns nil when img cannot be read.
func redact(t *Table, img []byte) []byte {
	var values map[string]json.RawMessage
	if json.Unmarshal(img, &values) != nil {
		return nil
	}
	for _, c := range t.Columns {
		if raw, ok := values[c.Name]; ok && c.Kind == KindEncrypted {
			if _, err := c.wire(raw); err != nil {
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
	case t.UUID && !uuidText.MatchString(pk):
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
