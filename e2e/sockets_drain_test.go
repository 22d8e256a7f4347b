package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// An Envoy that is about to end says so where a protocol has a word for it, with the next answer: HTTP/2
// by GOAWAY, HTTP/1 by "connection: close". Sockets that are open are told nothing and stay. When
// Envoy ends they end, without a close frame: a code such as 1001 can only be of the app.
func TestDrainsAreTold(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(w *world) {
		t := w.t
		a, tcp := w.startSocketApps()
		conns := w.everySocket(a, tcp)
		byHTTP2 := w.clients.frames("sockets.test")
		before, err := byHTTP2.get("/", http2.FrameHeaders)
		if err != nil {
			t.Fatal(before, err)
		}
		kept := w.conns.keepAlive("sockets.test")
		resp, err := http.Post("http://"+w.envoy.Admin+"/healthcheck/fail", "", strings.NewReader(""))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		_ = resp.Body.Close()
		if err := kept.use(); err == nil || !strings.HasSuffix(err.Error(), "close true") {
			t.Errorf("an answer by HTTP/1: %v, want connection: close", err)
		}
		if came, err := byHTTP2.get("/", http2.FrameGoAway); err != nil || came[len(came)-1] != http2.FrameGoAway {
			t.Errorf("an answer by HTTP/2: %v, %v, want GOAWAY", came, err)
		}
		for range 3 {
			w.conns.open(conns...)
		}
		w.conns.open(w.conns.webSocket("sockets.test")) // new ones are taken as well
		raw := w.clients.rawWebSocket("sockets.test")
		w.envoy.Stop()
		if rest, err := io.ReadAll(raw); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > 0 {
			t.Errorf("Envoy ends a WebSocket by %q, %v, want its end", rest, err)
		}
		for _, c := range conns {
			if err := c.use(); err == nil {
				t.Errorf("%s is open without Envoy", c.what)
			}
		}
	})
}

// rawWebSocket is a WebSocket that is open, byte by byte.
func (c *clients) rawWebSocket(host string) io.Reader {
	c.t.Helper()
	conn := c.connected(host, "http/1.1")
	_, _ = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	var head bytes.Buffer
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		if _, err := io.CopyN(&head, conn, 1); err != nil {
			c.t.Fatalf("%v after %q", err, head.String())
		}
	}
	if !strings.HasPrefix(head.String(), "HTTP/1.1 101 ") {
		c.t.Fatalf("no WebSocket: %q", head.String())
	}
	return conn
}
