package envoy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rawApp is an app that answers as no HTTP library would. To a path that is in answers it
// says these bytes; all others get what the app received, byte by byte.
type rawApp struct {
	answers map[string]string
	address string
}

func startRawApp(t testing.TB, answers map[string]string) *rawApp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &rawApp{answers: answers, address: l.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go app.serve(conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return app
}

func (a *rawApp) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var received bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &received))
	for {
		received.Reset()
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Expect") == "100-continue" && req.URL.Path == "/wanted" {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		answer, ok := a.answers[req.URL.Path]
		if !ok {
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", received.Len(), received.Bytes())
		}
		if _, err := io.WriteString(conn, answer); err != nil || strings.HasPrefix(answer, "HTTP/1.0") || ok && req.ContentLength != 0 {
			return
		}
	}
}

// exchange is what a client says, byte by byte, and what it must get.
type exchange struct {
	name, request string
	// status is that of the answer after all interim ones.
	status int
	// has is in what the client got: of the app's paths without answers that includes what
	// the app got. hasNot is not.
	has, hasNot []string
	// more is sent after the first bytes of an answer.
	more string
}

// run fails the test if the client gets something else.
func (x exchange) run(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	// A server may answer, and close, before it has read all.
	_, _ = io.WriteString(conn, x.request)
	got, status := x.answer(t, conn)
	if status != x.status {
		t.Errorf("%s: status %d, want %d: %.500q", x.name, status, x.status, got)
		return
	}
	lower := strings.ToLower(got)
	for _, text := range x.has {
		if !strings.Contains(lower, strings.ToLower(text)) {
			t.Errorf("%s: %q is missing in %.2000q", x.name, text, got)
		}
	}
	for _, text := range x.hasNot {
		if strings.Contains(lower, strings.ToLower(text)) {
			t.Errorf("%s: %q is in %.2000q", x.name, text, got)
		}
	}
}

// answer returns all that the client got up to the end of the answer.
func (x exchange) answer(t *testing.T, conn net.Conn) (got string, status int) {
	t.Helper()
	var all bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &all))
	for more := x.more; ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v after %.500q", x.name, err, all.String())
			return all.String(), 0
		}
		if more != "" {
			_, _ = io.WriteString(conn, more)
			more = ""
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			_, _ = io.Copy(io.Discard, resp.Body)
			return all.String(), resp.StatusCode
		}
	}
}
