package crdt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendValue appends the canonical form of a Go value: nil, bool, string, every integer
// type of the standard decoders (int, int64, uint64), json.Number, json.RawMessage, []any
// and map[string]any. Other types are refused with ErrFormat; a float64 too, because it has
// lost the digits its author wrote (decode with json.Decoder.UseNumber).
func AppendValue(b []byte, v any) ([]byte, error) {
	out, err := appendAny(b, v, 1)
	if err == nil && len(out)-len(b) > OpMaxBytes {
		err = refuse("value above 16 KiB")
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

func appendAny(b []byte, v any, depth int) ([]byte, error) {
	if depth > DepthMax {
		return b, refuse("nested too deep")
	}
	switch x := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, x), nil
	case int:
		return appendNumber(b, strconv.Itoa(x)), nil
	case int64:
		return appendNumber(b, strconv.FormatInt(x, 10)), nil
	case uint64:
		return appendNumber(b, strconv.FormatUint(x, 10)), nil
	case json.Number:
		if reason := checkNumber(string(x)); reason != "" {
			return b, refuse(reason)
		}
		return appendNumber(b, string(x)), nil
	case string:
		if !utf8.ValidString(x) {
			return b, refuse("invalid UTF-8")
		}
		if strings.IndexByte(x, 0) >= 0 {
			return b, refuse("NUL in string")
		}
		return appendString(b, x), nil
	case json.RawMessage:
		// Read at its own depth: a raw part inside a composed value counts from there.
		r := reader{s: string(x)}
		r.space()
		reason := r.value(depth)
		if r.space(); reason == "" && r.i != len(r.s) {
			reason = "more after the value"
		}
		if reason != "" {
			return b, &FormatError{Reason: reason, Offset: r.i}
		}
		return append(b, r.out...), nil
	case []any:
		return appendArray(b, x, depth)
	case map[string]any:
		return appendObject(b, x, depth)
	case float64:
		return b, refuse("float64 has lost its digits")
	}
	return b, refuse(fmt.Sprintf("Go type %T has no canonical form", v))
}

func appendArray(b []byte, x []any, depth int) ([]byte, error) {
	b = append(b, '[')
	var err error
	for i, element := range x {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendAny(b, element, depth+1); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, x map[string]any, depth int) ([]byte, error) {
	keys := make([]string, 0, len(x))
	for key := range x {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if key == numKey {
			literal, _ := x[key].(string)
			if len(x) > 1 || checkNumber(literal) != "" || isCanonicalInteger(literal) {
				return b, refuse("$num without a literal of its own")
			}
			return appendNumber(b[:len(b)-1], literal), nil
		}
		for j := range len(key) {
			if key[j] < ' ' || key[j] > '~' {
				return b, refuse("object key not printable ASCII")
			}
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		var err error
		if b, err = appendAny(b, x[key], depth+1); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}
