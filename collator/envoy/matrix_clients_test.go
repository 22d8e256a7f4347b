package envoy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// asking is a request, however it is sent.
type asking struct {
	id, host, sni, method, path string
	header                      http.Header
	large                       bool
	size                        int // of the body; 0 for the usual
}

// reply is what became of it. The status is 0 if there was no answer.
type reply struct {
	id, host string
	status   int
	header   http.Header
	err      error
}

// way is how requests are sent.
type way struct {
	name              string
	body, chunked     bool
	socket, grpc, tls bool
	send              func(m *matrix, t *testing.T, w way, a asking) (*http.Response, error)
}

// ways are all of them.
var ways = []way{
	{name: "HTTP/1.1", send: byTransport("http", 1)},
	{name: "HTTP/1.1 with a body", body: true, send: byTransport("http", 1)},
	{name: "HTTP/1.1 in chunks", body: true, chunked: true, send: byTransport("http", 1)},
	{name: "HTTP/1.0", send: byHTTP10},
	{name: "HTTP/2", send: byTransport("http", 2)},
	{name: "HTTP/2 with a body", body: true, chunked: true, send: byTransport("http", 2)},
	{name: "HTTPS", tls: true, body: true, send: byTransport("https", 1)},
	{name: "HTTP/2 by TLS", tls: true, send: byTransport("https", 2)},
	{name: "WebSocket", socket: true, send: byTransport("http", 1)},
	{name: "WebSocket by HTTP/2", socket: true, send: byConnect},
}

// grpcWays are those to apps that speak HTTP/2.
var grpcWays = []way{
	{name: "gRPC", grpc: true, body: true, send: byTransport("http", 2)},
	{name: "gRPC by TLS", grpc: true, tls: true, body: true, send: byTransport("https", 2)},
	{name: "gRPC stream", grpc: true, body: true, chunked: true, send: byTransport("http", 2)},
}

// ask sends a request, and waits for the head of the answer.
func (m *matrix) ask(t *testing.T, w way, a asking) reply {
	t.Helper()
	resp, err := w.send(m, t, w, a)
	if err != nil {
		return reply{id: a.id, host: a.host, err: err}
	}
	if resp.StatusCode != http.StatusSwitchingProtocols && !w.socket && !w.grpc {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	_ = resp.Body.Close()
	return reply{a.id, a.host, resp.StatusCode, resp.Header, err}
}

func (w way) bodyOf(a asking) io.Reader {
	size := 0
	if w.body {
		size = 5
	}
	if w.body && a.large {
		size = 32 << 10
	}
	if a.size > 0 {
		size = a.size
	}
	body := bytes.NewReader(make([]byte, size))
	if w.chunked {
		return struct{ io.Reader }{body} // of a length that nobody knows
	}
	return body
}

// byTransport sends by Go's client.
func byTransport(scheme string, version int) func(*matrix, *testing.T, way, asking) (*http.Response, error) {
	return func(m *matrix, t *testing.T, w way, a asking) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		method := "GET"
		if w.body {
			method = "POST"
		}
		if a.method != "" {
			method = a.method
		}
		req, err := http.NewRequestWithContext(ctx, method, scheme+"://envoy.invalid"+a.path, w.bodyOf(a))
		if err != nil {
			return nil, err
		}
		req.Host, req.Header = a.host, a.header.Clone()
		req.Header.Set("X-Matrix", a.id)
		switch {
		case w.grpc:
			req.Header.Set("Content-Type", "application/grpc")
			req.Header.Set("Te", "trailers")
			if w.chunked && !a.large {
				r, end := io.Pipe() // which ends after the answer has begun
				go func() { _, _ = end.Write(make([]byte, 5)) }()
				defer func() { _ = end.Close() }()
				req.Body = r
			}
		case w.socket:
			for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
				req.Header.Set(name, value)
			}
		}
		transport := m.transport(request{tls: scheme == "https", sni: a.sni})
		transport.TLSClientConfig.InsecureSkipVerify = true // names below the wildcard's
		transport.TLSClientConfig.NextProtos = nil
		transport.DisableCompression = true
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(version == 1)
		transport.Protocols.SetHTTP2(version == 2 && scheme == "https")
		transport.Protocols.SetUnencryptedHTTP2(version == 2 && scheme == "http")
		t.Cleanup(transport.CloseIdleConnections)
		return transport.RoundTrip(req)
	}
}

func byHTTP10(m *matrix, _ *testing.T, _ way, a asking) (*http.Response, error) {
	conn, err := net.Dial("tcp", m.fleet.HTTP.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	method := "GET"
	if a.method != "" {
		method = a.method
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.0\r\nHost: %s\r\nX-Matrix: %s\r\n", method, a.path, a.host, a.id)
	_ = a.header.Write(&head)
	if _, err := io.WriteString(conn, head.String()+"\r\n"); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	_, _ = io.ReadAll(resp.Body)
	resp.Body = http.NoBody
	return resp, nil
}

// byConnect opens a WebSocket by a stream of HTTP/2.
func byConnect(m *matrix, t *testing.T, _ way, a asking) (*http.Response, error) {
	conn, err := net.Dial("tcp", m.fleet.HTTP.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	c := &http2Client{t: t, framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := c.framer.WriteSettings(); err != nil {
		return nil, err
	}
	fields := append(connectTo(a.host, a.path), "x-matrix", a.id)
	for name, values := range a.header {
		fields = append(fields, strings.ToLower(name), values[0])
	}
	stream := c.send(false, fields...)
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok && head.StreamID == stream {
			resp := &http.Response{Header: http.Header{}, Body: http.NoBody}
			_, _ = fmt.Sscan(head.PseudoValue("status"), &resp.StatusCode)
			for _, f := range head.RegularFields() {
				resp.Header.Add(f.Name, f.Value)
			}
			return resp, nil
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == stream {
			return nil, fmt.Errorf("reset: %s", reset.ErrCode)
		}
	}
}
