// Package redistest has what tests of caches need: a client of Redis, and a server that knows a few commands.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Client is one connection. It is for one goroutine.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to a server.
func Dial(address string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return NewClient(conn), nil
}

// NewClient has a client on a connection.
func NewClient(conn net.Conn) *Client { return &Client{conn, bufio.NewReader(conn)} }

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do sends a command and returns the answer as text: "(nil)" for none, elements of a list with spaces between. An error
// of the server is an Error; others end the connection.
func (c *Client) Do(args ...string) (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return "", err
	}
	if _, err := c.conn.Write(command(args)); err != nil {
		return "", err
	}
	return read(c.r)
}

// Error is what a server, or Envoy, says of a command that it does not do.
type Error string

func (e Error) Error() string { return string(e) }

func command(args []string) []byte {
	text := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return text
}

// read reads a value of RESP2. See https://redis.io/docs/latest/develop/reference/protocol-spec/
func read(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if len(line) < 3 {
		return "", fmt.Errorf("%q is no value", line)
	}
	kind, text := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return text, nil
	case '-':
		return "", Error(text)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("%q is no value", line)
	}
	switch {
	case n < 0:
		return "(nil)", nil
	case kind == '$':
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r, body); err != nil {
			return "", err
		}
		return string(body[:n]), nil
	case kind == '*':
		all := make([]string, n)
		for i := range all {
			one, err := read(r)
			if e := Error(""); errors.As(err, &e) {
				one, err = string(e), nil
			}
			if err != nil {
				return "", err
			}
			all[i] = one
		}
		return strings.Join(all, " "), nil
	}
	return "", fmt.Errorf("%q is no value", line)
}
