package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client by HTTP/2 that sees each frame.
type frames struct {
	conn   *tls.Conn
	framer *http2.Framer
	host   string
	next   uint32
}

// connected is a connection by TLS for a host, by one protocol.
func (c *clients) connected(host, protocol string) *tls.Conn {
	c.t.Helper()
	config := c.certs.ca.ClientTLS()
	config.ServerName, config.NextProtos = host, []string{protocol}
	conn, err := tls.Dial("tcp", c.https, config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func (c *clients) frames(host string) *frames {
	c.t.Helper()
	conn := c.connected(host, "h2")
	f := &frames{conn: conn, framer: http2.NewFramer(conn, conn), host: host, next: 1}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		c.t.Fatal(err)
	}
	if err := f.framer.WriteSettings(); err != nil {
		c.t.Fatal(err)
	}
	return f
}

// send opens a stream, for a path. More fields are names and values in turn.
func (f *frames) send(end bool, method, path string, more ...string) (stream uint32, err error) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := append([]string{":method", method, ":scheme", "https", ":authority", f.host, ":path", path}, more...)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return 0, err
		}
	}
	stream = f.next
	f.next += 2
	return stream, f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// get asks for a path, and returns the types of frames that came until the answer is complete, or
// one of a type that is waited for.
func (f *frames) get(path string, until http2.FrameType) (came []http2.FrameType, err error) {
	stream, err := f.send(true, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			return came, err
		}
		h := frame.Header()
		came = append(came, h.Type)
		if h.Type == until || h.StreamID == stream && h.Flags.Has(http2.FlagDataEndStream) {
			return came, nil
		}
	}
}

// extended opens a WebSocket by HTTP/2 (RFC 8441). Go's client has no way to.
func (o *connections) extended(name string) openConn {
	o.t.Helper()
	f := o.clients.frames(name)
	stream, err := f.send(false, http.MethodConnect, "/ws", ":protocol", "websocket", "sec-websocket-version", "13")
	if err != nil {
		o.t.Fatal(err)
	}
	return openConn{"a WebSocket by HTTP/2 of " + name, func() error {
		_ = f.conn.SetDeadline(time.Now().Add(patience))
		// A text message in one frame, which the client masks, with zeros.
		if err := f.framer.WriteData(stream, false, []byte("\x81\x85\x00\x00\x00\x00hello")); err != nil {
			return err
		}
		for {
			frame, err := f.framer.ReadFrame()
			if err != nil {
				return err
			}
			switch frame := frame.(type) {
			case *http2.RSTStreamFrame:
				return errors.New("it was reset: " + frame.ErrCode.String())
			case *http2.DataFrame:
				if got := frame.Data(); string(got) != "\x81\x05hello" {
					return fmt.Errorf("it echoes %q", got)
				}
				return nil
			}
		}
	}}
}
