package envoy_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/sources"
	"relay/xds/envoytest"
)

// http2Client speaks HTTP/2 frame by frame, in plain text.
type http2Client struct {
	t       *testing.T
	framer  *http2.Framer
	next    uint32
	connect bool // the server takes CONNECT for other protocols
}

func dialHTTP2(t *testing.T, address string) *http2Client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	c := &http2Client{t: t, framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// send opens a stream, whose fields are names and values in turn.
func (c *http2Client) send(end bool, fields ...string) (stream uint32) {
	c.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	stream = c.next
	c.next += 2
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		c.t.Fatal(err)
	}
	return stream
}

// receive reads frames until the stream has data or ends. It returns the status and the
// data, or why the stream ended.
func (c *http2Client) receive(stream uint32) (status, data string) {
	c.t.Helper()
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return status, err.Error()
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if enabled, ok := f.Value(http2.SettingEnableConnectProtocol); ok {
				c.connect = enabled == 1
			}
		case *http2.GoAwayFrame:
			return status, "GOAWAY " + f.ErrCode.String()
		}
		if frame.Header().StreamID != stream {
			continue
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
			if f.StreamEnded() {
				return status, ""
			}
		case *http2.DataFrame:
			return status, string(f.Data())
		case *http2.RSTStreamFrame:
			return status, "RST_STREAM " + f.ErrCode.String()
		}
	}
}

func pseudo(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "raw.test", ":path", path}, more...)
}

// By HTTP/2 clients get what they get by HTTP/1.
func TestHTTP2Clients(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		app := startRawApp(t, rawAnswers)
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{changed(webApp("/raw", "raw.test"), func(p *sources.Port) { p.Endpoints = endpoints(app.address) })})
		e.eventually(t, request{host: "raw.test", path: "/"}, status(200))
		c := dialHTTP2(t, e.fleet.HTTP.String())
		var fields []string
		for i := range 95 {
			fields = append(fields, "cookie", fmt.Sprintf("name%d=value", i))
		}
		for i := range 405 {
			fields = append(fields, fmt.Sprintf("x-%d", i), "1")
		}
		for _, x := range []struct {
			name, status, has string
			fields            []string
		}{
			{"500 fields", "200", "name0=value; name1=value", pseudo("GET", "/", fields...)},
			{"unknown method", "200", "BAN / HTTP/1.1", pseudo("BAN", "/")},
			{"path as it is", "200", "GET //a/%2e%2e/%2F/http://x;d?//", pseudo("GET", "//a/%2e%2e/%2F/http://x;d?//")},
			{"both length and chunks", "200", "ok", pseudo("GET", "/both")},
			{"CONNECT", "404", "", []string{":method", "CONNECT", ":authority", "raw.test"}},
		} {
			status, data := c.receive(c.send(true, x.fields...))
			if status != x.status || !strings.Contains(data, x.has) {
				t.Errorf("%s: status %s, %.1000q; want %s and %q", x.name, status, data, x.status, x.has)
			}
		}
		// Nobody gets it by an upgrade of Relay.
		if c.connect {
			t.Error("Envoy says that it takes WebSockets by HTTP/2")
		}
	})
}
