package pgsync

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
)

// wireConn follows the protocol of one connection: onUp is told of the bytes before they are sent, onDown of every
// message of the server before the client sees it. Either may be nil. An error of onUp breaks the connection.
type wireConn struct {
	net.Conn
	onUp   func(b []byte) (keep int, err error)
	onDown func(kind byte, body []byte)
	rest   []byte // of a message that has not arrived whole
}

func (c *wireConn) Write(b []byte) (int, error) {
	if c.onUp != nil {
		if keep, err := c.onUp(b); err != nil {
			n, _ := c.Conn.Write(b[:keep])
			c.Conn.Close()
			return n, err
		}
	}
	return c.Conn.Write(b)
}

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.onDown == nil {
		return n, err
	}
	c.rest = append(c.rest, b[:n]...)
	for len(c.rest) >= 5 {
		size := 1 + int(binary.BigEndian.Uint32(c.rest[1:]))
		if len(c.rest) < size {
			break
		}
		c.onDown(c.rest[0], c.rest[5:size])
		c.rest = c.rest[size:]
	}
	return n, err
}

// plainDial is how pgx dials when nobody interferes.
func plainDial(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// recorder keeps every byte of every connection, one text per direction and connection.
type recorder struct {
	mu     sync.Mutex // guards the rest
	copies []*[]byte
}

func (r *recorder) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := plainDial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := new([]byte)
	r.copies = append(r.copies, sent)
	return &wireConn{Conn: conn, onUp: func(b []byte) (int, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		*sent = append(*sent, b...)
		return len(b), nil
	}}, nil
}

// texts returns a copy of what was sent so far, per connection.
func (r *recorder) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, sent := range r.copies {
		out = append(out, string(*sent))
	}
	return out
}
