package crdt

import "strings"

// ValidPath reports whether s may name a place in a document: 1 to PathMaxBytes of
// segments joined by "/", each segment one or more of [A-Za-z0-9_:@.-].
func ValidPath(s string) bool {
	if s == "" || len(s) > PathMaxBytes {
		return false
	}
	open := false // whether the current segment has a byte yet
	for i := range len(s) {
		switch {
		case charClass[s[i]] != classNone:
			open = true
		case s[i] == '/' && open:
			open = false
		default:
			return false
		}
	}
	return open
}

const upperHex = "0123456789ABCDEF"

// EscapeSegment turns any text into one path segment: bytes outside [A-Za-z0-9_:.-] become
// "@" and two hexadecimal digits. UnescapeSegment gives the text back. The empty text has
// no segment and stays empty.
func EscapeSegment(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if charClass[c] != classNone && c != '@' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('@')
		b.WriteByte(upperHex[c>>4])
		b.WriteByte(upperHex[c&15])
	}
	return b.String()
}

// UnescapeSegment undoes EscapeSegment. Text that EscapeSegment cannot have written comes
// back unchanged.
func UnescapeSegment(segment string) string {
	if strings.IndexByte(segment, '@') < 0 {
		return segment
	}
	b := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		if segment[i] != '@' {
			b = append(b, segment[i])
			continue
		}
		if i+2 >= len(segment) {
			return segment
		}
		hi, lo := strings.IndexByte(upperHex, segment[i+1]), strings.IndexByte(upperHex, segment[i+2])
		if hi < 0 || lo < 0 {
			return segment
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	if EscapeSegment(string(b)) != segment {
		return segment
	}
	return string(b)
}

// PathFromPointer turns a client's JSON Pointer ("/items/FE-001/result", RFC 6901; the
// leading slash may be absent) into a path, escaping what a path cannot hold. Pointers
// that differ give paths that differ. Its errors unwrap to ErrFormat.
func PathFromPointer(pointer string) (string, error) {
	segments := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, s := range segments {
		if s == "" {
			return "", refuse("empty path segment")
		}
		if strings.IndexByte(s, 0) >= 0 {
			return "", refuse("NUL in path")
		}
		if strings.IndexByte(s, '~') >= 0 {
			s = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
		}
		segments[i] = EscapeSegment(s)
	}
	path := strings.Join(segments, "/")
	if !ValidPath(path) {
		return "", refuse("path too long")
	}
	return path, nil
}

// comparePaths orders paths segment by segment, so that everything below a path follows it
// at once: plain byte order would put "a-b" between "a" and "a/b".
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		switch {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		case x < y:
			return -1
		default:
			return 1
		}
	}
	return len(a) - len(b)
}
