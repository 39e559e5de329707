package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"firemode/audit"
	"firemode/crdt"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// syncMaxBytes bounds a request as sent, and unpacked: 1,000 operations are
	// some 100 KB, and one that resolves thousands of values may take 128 KB.
	syncMaxBytes         = 1 << 20
	syncUnpackedMaxBytes = 4 << 20
	// syncRowsMax bounds the operations in one answer; more says that there are others.
	syncRowsMax = 1000

	ndjson = "application/x-ndjson"
)

func (s *service) bindSync(api huma.API) {
	text := map[string]*huma.MediaType{ndjson: {Schema: &huma.Schema{Type: huma.TypeString}}}
	register(api, huma.Operation{
		OperationID: "sync-session", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/sync", Tags: []string{"sessions"}, DefaultStatus: http.StatusOK,
		Summary: "Send and receive operations of a document",
		Description: "Lines of JSON, gzip allowed. Request: a header {\"v\":1,\"epoch\":\"…\",\"since\":n,\"actor\":\"…\",\"from\":seq,\"prev\":\"base64\",\"head\":\"base64\"}, then the actor's operations in order. " +
			"Answer: {\"epoch\",\"acked\",\"chain\",\"n\",\"added\",\"duplicates\",\"late\",\"quarantined\",\"more\"}, then {\"n\",\"r\",\"q\",\"op\"} for each operation after since, op byte for byte as its author wrote it. " +
			"q is 1 for an operation in quarantine, without effect, plus 2 for one that came when the session was locked. An operation at notes/admitted that is not in quarantine itself " +
			"gives those named in its x their effect; one at notes/redacted erases their values. An operation whose value was erased comes with \"h\", the SHA-256 of its original line. Whoever could write to the session once and may not any more still delivers what they recorded, into quarantine. " +
			"A device that meets another epoch than before, or gets 409 with code restored, talks to a log that came back from a backup: it forgets its cursor and sends again what the log lacks. " +
			"A device names the epoch it knows in the header, so that nothing of its is stored before it knows what the names in its operations mean now. " +
			"Without operations only receives; with \"send_only\":true in the header only sends. Everything may be repeated. 409 says in data.code why nothing was stored: gap (want), fork, missing (dots), chain (seq). " +
			"After missing send what comes before the first operation that names one of them: two devices that wait for each other's with all they have wait for ever.",
		Responses: map[string]*huma.Response{"200": {Description: "The acknowledgement, then operations", Content: text}},
	}, (*call).sync)
	// Declared afterwards: earlier it would make huma read the body itself.
	api.OpenAPI().Paths["/v1/tests/sessions/{id}/sync"].Post.RequestBody = &huma.RequestBody{Required: true, Content: text}
}

// syncHeader is the first line of a sync request.
type syncHeader struct {
	V     int    `json:"v"`
	Epoch string `json:"epoch"` // that the device knows; "" for none
	Since int64  `json:"since"`
	Actor string `json:"actor"`
	From  uint64 `json:"from"`
	Prev  string `json:"prev"`
	Head  string `json:"head"`
	// SendOnly asks for the acknowledgement alone.
	SendOnly bool `json:"send_only"`
}

// written is an answer that writes itself.
type written struct{ Body func(huma.Context) }

func (c *call) sync(in *IDPath) (*written, error) {
	head, req, err := c.readSync()
	if err != nil {
		return nil, err
	}
	mayRead, err := c.admitSync(in.ID, &req)
	if err != nil {
		return nil, err
	}
	if err := c.checkCursor(in.ID, head.Epoch, head.Since); err != nil {
		return nil, err
	}
	req.SessionID, req.UserID, req.Since = in.ID, c.auth().Id, head.Since
	var ack merge.Ack
	if len(req.Lines) > 0 {
		if err := req.Parse(); err != nil {
			return nil, err
		}
		req.Supervisor = !req.Lapsed && req.Admits() && c.isStaff() && c.mayManage(in.ID) == nil
		err := c.Merge.Do(c.ctx(), func(b *merge.Batch) (err error) {
			defer audit.Attribute(b.App(), c.actor())()
			ack, err = b.Append(req)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var rows []merge.Row
	if mayRead && !head.SendOnly && (len(req.Lines) == 0 || head.Since < ack.N) { // else there is nothing behind it
		if rows, err = c.Merge.Ops(c.ctx(), in.ID, head.Since, syncRowsMax); err != nil {
			return nil, err
		}
	}
	ack.N = max(ack.N, head.Since)
	if len(rows) > 0 {
		ack.N = max(ack.N, rows[len(rows)-1].N)
	}
	body := encodeSync(c.Merge.Epoch(), ack, len(req.Lines) > 0, len(rows) == syncRowsMax, rows)
	return &written{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", ndjson)
		_, _ = hc.BodyWriter().Write(body)
	}}, nil
}

// checkCursor refuses a position that the log does not have (yet again), and one of another
// epoch: the server was restored from a backup, and the device does not know. Its operations
// may name others by names that mean something else by now.
func (c *call) checkCursor(sessionID, epoch string, since int64) error {
	moved := epoch != "" && epoch != c.Merge.Epoch()
	if since == 0 && !moved {
		return nil
	}
	n, err := c.Merge.Position(c.ctx(), sessionID)
	if err != nil || since <= n && !moved {
		return err
	}
	return conflict("The log is not the one that the device knows: the server was restored from a backup. Start from the beginning.",
		map[string]any{"code": "restored", "n": n, "epoch": c.Merge.Epoch()})
}

// encodeSync writes the acknowledgement and the rows. An operation stands last
// in its line, as its author's own bytes, so that a client can cut it out.
func encodeSync(epoch string, ack merge.Ack, sent, more bool, rows []merge.Row) []byte {
	first := map[string]any{"epoch": epoch, "n": ack.N, "more": more}
	if sent {
		first["acked"], first["chain"] = ack.Acked, base64.StdEncoding.EncodeToString(ack.Chain[:])
		first["added"], first["duplicates"] = ack.Added, ack.Duplicates
		first["late"], first["quarantined"] = ack.Late, ack.Quarantined
	}
	raw, err := encodeJSON(first)
	if err != nil {
		panic("api: internal error: " + err.Error()) // numbers, booleans and base64 always encode
	}
	b := bytes.NewBuffer(append(raw, '\n'))
	for _, r := range rows {
		flags := 0
		if r.Quarantined {
			flags |= 1
		}
		if r.Late {
			flags |= 2
		}
		b.WriteString(`{"n":` + strconv.FormatInt(r.N, 10) + `,"r":` + strconv.FormatInt(r.Received, 10) + `,"q":` + strconv.Itoa(flags))
		if r.Redacted != "" {
			b.WriteString(`,"h":"` + r.Redacted + `"`)
		}
		b.WriteString(`,"op":`)
		b.Write(r.Line)
		b.WriteString("}\n")
	}
	return b.Bytes()
}

// readSync reads the lines of a request.
func (c *call) readSync() (syncHeader, merge.SyncRequest, error) {
	var (
		head syncHeader
		req  merge.SyncRequest
	)
	lines, err := readLines(c.event.Request)
	if err != nil {
		return head, req, err
	}
	if len(lines) == 0 {
		return head, req, newProblem(http.StatusBadRequest, "A header line is needed.")
	}
	if p := checkJSON(lines[0]); p != nil {
		return head, req, p
	}
	d := json.NewDecoder(bytes.NewReader(lines[0]))
	d.DisallowUnknownFields()
	if err := d.Decode(&head); err != nil {
		return head, req, invalid("", "the header line must be {v, since, actor, from, prev, head} and may have epoch and send_only")
	}
	switch {
	case head.V != 1:
		return head, req, invalid("/v", "must be 1")
	case head.Since < 0:
		return head, req, invalid("/since", "must not be negative")
	}
	req.Actor, req.Lines = head.Actor, lines[1:]
	if len(req.Lines) == 0 {
		return head, req, nil
	}
	if !crdt.ValidActor(head.Actor) {
		return head, req, invalid("/actor", "is not an actor id")
	}
	for name, text := range map[string]string{"prev": head.Prev, "head": head.Head} {
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(raw) != 32 {
			return head, req, invalid("/"+name, "must be 32 bytes in base64")
		}
		if name == "prev" {
			req.Prev = [32]byte(raw)
		} else {
			req.Head = [32]byte(raw)
		}
	}
	if first, err := crdt.ParseOp(req.Lines[0]); err == nil && head.From != 0 && first.Seq != head.From {
		return head, req, invalid("/from", "is not the number of the first operation")
	}
	return head, req, nil
}

// readLines reads a body of lines within its limits. A last line without its
// end counts; an empty one does not.
func readLines(r *http.Request) ([][]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != ndjson {
		return nil, newProblem(http.StatusUnsupportedMediaType, "Send "+ndjson+".")
	}
	if r.ContentLength > syncMaxBytes {
		return nil, tooLarge(r)
	}
	sent := http.MaxBytesReader(nil, r.Body, syncMaxBytes)
	var body io.Reader = sent
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip":
		zip, err := gzip.NewReader(bufio.NewReader(sent))
		if err != nil {
			return nil, newProblem(http.StatusBadRequest, "The body is not gzip.").because(err)
		}
		body = zip
	default:
		return nil, newProblem(http.StatusUnsupportedMediaType, "Send gzip or no content encoding.")
	}
	raw, err := io.ReadAll(io.LimitReader(body, syncUnpackedMaxBytes+1))
	var tooMany *http.MaxBytesError
	switch {
	case errors.As(err, &tooMany) || len(raw) > syncUnpackedMaxBytes:
		return nil, tooLarge(r)
	case err != nil:
		return nil, unreadable(err)
	}
	var lines [][]byte
	for line := range bytes.SplitSeq(raw, []byte("\n")) {
		if len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
