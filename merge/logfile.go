package merge

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"firemode/crdt"
)

// A log file holds operation logs as lines of JSON: for each session a header, its
// operations in order, and an end line with the SHA-256 of every byte before it, line ends
// included. An operation stands last in its line, as its author's own bytes. Each line has
// one form: another order, a further member or a space is an error. What a later version
// adds comes with another v.
//
//	{"v":1,"session":"…","n":2,"digest":"…","actors":[{"actor":"…","user":"…","device":"…","revoked":false,"seq":2,"chain":"…"}]}
//	{"n":1,"r":1764000000000,"q":0,"op":{…}}
//	{"n":2,"r":1764000000000,"q":0,"op":{…}}
//	{"end":2,"sha256":"…"}
//
// An operation whose value was erased has the SHA-256 of its original line before it:
//
//	{"n":1,"r":1764000000000,"q":32,"h":"…","op":{…}}

const (
	logFileVersion = 1
	// logLineMax bounds one line of a log file: a header names up to 5,000 actors.
	logLineMax = 4 << 20
)

// A LogHeader begins a session's log in a file.
type LogHeader struct {
	V         int        `json:"v"`
	SessionID string     `json:"session"`
	N         int64      `json:"n"`      // operations
	Digest    string     `json:"digest"` // of the document they lead to, hexadecimal
	Actors    []LogActor `json:"actors"` // all authors, by id
}

// A LogActor is an author and the end of its history.
type LogActor struct {
	Actor   string `json:"actor"`
	User    string `json:"user"`
	Device  string `json:"device"`
	Revoked bool   `json:"revoked"`
	Seq     uint64 `json:"seq"`
	Chain   string `json:"chain"` // after Seq, hexadecimal
}

// A LogRow is one operation of a log file.
type LogRow struct {
	N        int64           `json:"n"`
	Received int64           `json:"r"`           // Unix milliseconds by the server's clock
	Flags    int64           `json:"q"`           // see the column q of crdt_ops
	Hash     string          `json:"h,omitempty"` // of the original line, hexadecimal, when its value was erased
	Line     json.RawMessage `json:"op"`
}

type logEnd struct {
	End    *int64 `json:"end"`
	SHA256 string `json:"sha256"`
}

// A LogFileError says where a log file is not what it should be. It quotes nothing.
type LogFileError struct {
	LineNumber int // from 1
	Reason     string
}

func (e *LogFileError) Error() string { return fmt.Sprintf("line %d: %s", e.LineNumber, e.Reason) }

// logWriter writes one session's log.
type logWriter struct {
	w   *bufio.Writer
	sum hash.Hash
}

func newLogWriter(w io.Writer) *logWriter {
	sum := sha256.New()
	return &logWriter{w: bufio.NewWriter(io.MultiWriter(w, sum)), sum: sum}
}

func (w *logWriter) line(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode log: %w", err)
	}
	_, _ = w.w.Write(raw)
	return w.w.WriteByte('\n') // a bufio.Writer keeps its first error
}

func (w *logWriter) row(r LogRow) error {
	_, _ = w.w.Write(r.append(w.w.AvailableBuffer()))
	return w.w.WriteByte('\n')
}

// append writes r without a line end. Encoding it as JSON would touch the author's bytes.
func (r LogRow) append(b []byte) []byte {
	b = fmt.Appendf(b, `{"n":%d,"r":%d,"q":%d,`, r.N, r.Received, r.Flags)
	if r.Flags&flagRedacted != 0 {
		b = fmt.Appendf(b, `"h":"%s",`, r.Hash)
	}
	b = append(b, `"op":`...)
	return append(append(b, r.Line...), '}')
}

func (w *logWriter) end(n int64) error {
	if err := w.w.Flush(); err != nil {
		return err
	}
	if err := w.line(logEnd{End: &n, SHA256: hex.EncodeToString(w.sum.Sum(nil))}); err != nil {
		return err
	}
	return w.w.Flush()
}

// LogVisitor is told what a log file holds, in order. Nil members are passed over.
type LogVisitor struct {
	Begin func(LogHeader) error
	Row   func(LogRow, *crdt.Op) error
	End   func() error
}

// ReadLogFile reads a log file and checks everything that can be checked without a
// database: the form of each line, positions without gaps, canonical operations of the
// authors in the header, that each follows from those before it, every author's chain, the
// document's digest and the sum of the bytes. What is wrong is a *LogFileError; a visitor's
// error ends the reading and is returned as it is. Visit nothing and the file is checked.
func ReadLogFile(r io.Reader, v LogVisitor) error {
	f := &logFile{in: bufio.NewReaderSize(r, 64<<10), sessions: map[string]struct{}{}}
	for {
		line, err := f.next()
		if errors.Is(err, io.EOF) {
			if f.number == 0 {
				f.number = 1
				return f.fault("the file is empty")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.session(line, v); err != nil {
			return err
		}
	}
}

// logFile is a log file on its way through ReadLogFile.
type logFile struct {
	in       *bufio.Reader
	number   int
	sum      hash.Hash
	sessions map[string]struct{} // begun so far
}

func (f *logFile) fault(reason string) error {
	return &LogFileError{LineNumber: f.number, Reason: reason}
}

// next returns a line without its end, or io.EOF after the last one.
func (f *logFile) next() ([]byte, error) {
	var line []byte
	for {
		part, err := f.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > logLineMax:
			f.number++
			return nil, f.fault("the line is too long")
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil, io.EOF
		}
		f.number++
		if errors.Is(err, io.EOF) {
			return nil, f.fault("the file is cut off in this line")
		}
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if err == nil && bytes.HasSuffix(line, []byte{'\r'}) {
			return nil, f.fault("the line ends in CR LF: another program has converted the file")
		}
		return line, err
	}
}

// decode reads a line that is byte for byte what the writer makes of its value. The decoder
// alone takes names in other letters, members twice and spaces.
func decode(line []byte, into any) bool {
	if json.Unmarshal(line, into) != nil {
		return false
	}
	again, err := json.Marshal(into)
	return err == nil && bytes.Equal(again, line)
}

// session reads one session's log, whose header is line.
func (f *logFile) session(line []byte, v LogVisitor) error {
	f.sum = sha256.New()
	h := LogHeader{}
	var version struct{ V int }
	switch {
	case json.Unmarshal(line, &version) != nil || version.V == 0:
		return f.fault("not the header of a session's log")
	case version.V != logFileVersion:
		return f.fault("the log is of another version than this program reads")
	case !decode(line, &h) || h.N < 0:
		return f.fault("not the header of a session's log")
	case !slices.IsSortedFunc(h.Actors, func(a, b LogActor) int { return strings.Compare(a.Actor, b.Actor) }):
		return f.fault("the authors are not in order")
	}
	if _, again := f.sessions[h.SessionID]; again {
		return f.fault("the session is in the file already")
	}
	f.sessions[h.SessionID] = struct{}{}
	f.count(line)
	w := newWalk(h.SessionID)
	if v.Begin != nil {
		if err := v.Begin(h); err != nil {
			return err
		}
	}
	for w.n < h.N {
		line, err := f.next()
		if errors.Is(err, io.EOF) {
			f.number++
			return f.fault("operations are missing: the file is cut off")
		}
		if err != nil {
			return err
		}
		row, op, reason := parseLogRow(w, &h, line)
		if reason != "" {
			return f.fault(reason)
		}
		f.count(line)
		if v.Row != nil {
			if err := v.Row(row, op); err != nil {
				return err
			}
		}
	}
	if err := f.close(w, &h); err != nil || v.End == nil {
		return err
	}
	return v.End()
}

func (f *logFile) count(line []byte) {
	f.sum.Write(line)
	f.sum.Write([]byte{'\n'})
}

// close reads the end line and compares what the operations lead to with the header.
func (f *logFile) close(w *walk, h *LogHeader) error {
	sum := hex.EncodeToString(f.sum.Sum(nil))
	line, err := f.next()
	if errors.Is(err, io.EOF) {
		f.number++
		return f.fault("the end line is missing: the file is cut off")
	}
	var end logEnd
	switch {
	case err != nil:
		return err
	case !decode(line, &end) || end.End == nil:
		return f.fault("not the end of a session's log")
	case *end.End != h.N || end.SHA256 != sum:
		return f.fault("the bytes are not those that were written")
	case w.unexplained() != nil:
		return f.fault(w.unexplained().Reason)
	case w.digest() != h.Digest:
		return f.fault("the operations do not lead to the document of the header")
	case len(w.chains) != len(h.Actors):
		return f.fault("an author of the header has no operation")
	}
	for _, a := range h.Actors {
		chain := w.chains[a.Actor]
		if a.Seq != w.state.Held(a.Actor) || a.Chain != hex.EncodeToString(chain[:]) {
			return f.fault("the chain of " + a.Actor + " does not end as the header says")
		}
	}
	return nil
}

// parseLogRow reads the next operation and applies it to w.
func parseLogRow(w *walk, h *LogHeader, line []byte) (row LogRow, op *crdt.Op, reason string) {
	if json.Unmarshal(line, &row) != nil || !bytes.Equal(row.append(nil), line) || row.Flags&^flagsAll != 0 || row.Received < 0 {
		return row, nil, "not an operation of a session's log"
	}
	hash, err := hex.DecodeString(row.Hash)
	if erased := row.Flags&flagRedacted != 0; err != nil || hex.EncodeToString(hash) != row.Hash || erased != (len(hash) == sha256.Size) {
		return row, nil, "not an operation of a session's log"
	}
	parsed, err := parseStored(row.Flags, hash, row.Line)
	if err != nil {
		return row, nil, "the operation is not canonical"
	}
	author, known := slices.BinarySearchFunc(h.Actors, parsed.Actor, func(a LogActor, key string) int { return strings.Compare(a.Actor, key) })
	if !known {
		return row, nil, "the operation's author is not in the header"
	}
	sum := parsed.Sum()
	if reason := w.row(row.N, int64(parsed.Seq), row.Flags, sum[:], row.Line, parsed.Actor, h.Actors[author].User); reason != "" {
		return row, nil, reason
	}
	w.n = row.N
	return row, &parsed, ""
}
