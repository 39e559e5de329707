package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// Canonical returns the one text of a JSON document: keys sorted, no white
// space, numbers in their shortest form (RFC 8785 for documents with ASCII
// keys). Two documents that mean the same have the same canonical text. A
// document with a key twice has no meaning and is refused.
func Canonical(raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	v, err := value(d, 0)
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("read JSON: more after the document")
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out) // sorts keys; writes numbers as ECMAScript does
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write canonical JSON: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// depthMax bounds nesting; a rule needs four levels.
const depthMax = 32

func value(d *json.Decoder, depth int) (any, error) {
	if depth > depthMax {
		return nil, fmt.Errorf("nested deeper than %d", depthMax)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	object := map[string]any{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := key.(string) // the decoder refuses any other key
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("key %q twice", name)
		}
		if object[name], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return object, err
}

// Canonical returns the rule's one text: what is stored, hashed and replayed.
func (r Rule) Canonical() ([]byte, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode rule %s: %w", r.Code, err)
	}
	return Canonical(raw)
}

// SHA256 returns the hex digest of the canonical text.
func (r Rule) SHA256() (string, error) {
	text, err := r.Canonical()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
