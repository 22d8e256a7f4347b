package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/probe"
	"relay/probe/edge"
)

// serve accepts connections until the test ends, and has each served.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	return listener.Addr().String()
}

// answering reads the head of a request and writes an answer.
func answering(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

func head(status int, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d x\r\n%s\r\n", status, strings.Join(append(headers, ""), "\r\n"))
}

func ask(t *testing.T, target probe.Target, timeout time.Duration) probe.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return edge.HTTP{Prober: &edge.Prober{Place: "here"}}.Probe(ctx, target)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	const ok, no, skip, out = "ok", "fails", "skipped", "is not reached"
	tests := []struct {
		name, answer string
		ask          probe.Ask
		sampled      bool
		want, reason string
	}{
		{"any status of an app", head(500, "Content-Length: 0"), probe.Ask{}, false, ok, ""},
		{"a status that is expected", head(204), probe.Ask{Status: []int{200, 204}}, false, ok, ""},
		{"a class that is expected", head(204), probe.Ask{StatusClass: 2}, false, ok, ""},
		{"another status", head(500, "Content-Length: 0"), probe.Ask{Status: []int{200}, StatusClass: 3}, false, no, "answer: the status is 500, expected 200, 3xx"},
		{"a redirect is not followed", head(302, "Location: http://127.0.0.1:1/", "Content-Length: 0"), probe.Ask{StatusClass: 3}, false, ok, ""},
		{"a text", head(200, "Content-Length: 5") + "hello", probe.Ask{Contains: "ell"}, false, ok, ""},
		{"a text in chunks", head(200, "Transfer-Encoding: chunked") + "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", probe.Ask{Contains: "ello"}, false, ok, ""},
		{"no text", head(200, "Content-Length: 5") + "hallo", probe.Ask{Contains: "hello"}, false, no, `body: the text "hello" is not in the 5 bytes of the answer 200`},
		{"a body that is cut off", head(200, "Content-Length: 50") + "hello", probe.Ask{}, false, no, "body: the connection was closed"},
		{"interim answers", head(103) + head(200, "Content-Length: 0"), probe.Ask{Status: []int{200}}, false, ok, ""},
		{"only interim answers", strings.Repeat(head(103), 10), probe.Ask{}, false, no, "answer: there are more than 5 interim answers"},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", probe.Ask{}, false, no, "answer: malformed HTTP response"},
		{"nothing", "", probe.Ask{}, false, no, "answer: the connection was closed"},
		{"no instance", head(503, "x-relay-error: offline", "Content-Length: 0"), probe.Ask{StatusClass: 5}, false, no, "answer: the Envoy answers offline (503): The application is offline"},
		{"no such domain", head(404, "x-relay-error: no-such-domain", "Content-Length: 0"), probe.Ask{}, false, out, "answer: the Envoy answers no-such-domain (404)"},
		{"asleep", head(503, "x-relay-error: asleep", "Content-Length: 0"), probe.Ask{Status: []int{200}}, false, skip, "the app sleeps"},
		{"maintenance", head(503, "x-relay-error: maintenance", "Content-Length: 0"), probe.Ask{}, false, skip, "the app is in maintenance"},
		{"a password, by a label", head(401, "x-relay-error: unauthorized", "Content-Length: 0"), probe.Ask{}, false, no, "answer: the Envoy answers unauthorized (401)"},
		{"a password that is expected", head(401, "x-relay-error: unauthorized", "Content-Length: 0"), probe.Ask{Status: []int{401}}, false, ok, ""},
		{"a password, by chance", head(401, "x-relay-error: unauthorized", "Content-Length: 0"), probe.Ask{}, true, skip, "the Envoy answers unauthorized: what to ask is not known of a domain that was chosen by chance"},
		{"a code that there is not", head(500, "x-relay-error: \x1b[31m", "Content-Length: 0"), probe.Ask{}, false, no, "answer: malformed MIME header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := ask(t, probe.Target{Kind: probe.HTTP, Address: serve(t, answering(tt.answer)), Domain: "a.test", Ask: tt.ask, Sampled: tt.sampled}, 20*time.Second)
			got := no
			switch {
			case r.Skipped != "":
				got, r.Reason = skip, r.Skipped
			case r.OK:
				got = ok
			case !r.Answered && r.Status > 0:
				got = out
			}
			if got != tt.want || !strings.HasPrefix(r.Reason, tt.reason) || tt.reason == "" && r.Reason != "" {
				t.Errorf("it is %s (%s), want %s (%s): %+v", got, r.Reason, tt.want, tt.reason, r)
			}
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	address := serve(t, func(conn net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			requests <- r
			_, _ = io.WriteString(conn, head(200, "Content-Length: 0", "X-Relay-Error:"))
		}
	})
	r := ask(t, probe.Target{Kind: probe.HTTP, Address: address, Domain: "a.test", Ask: probe.Ask{Method: "HEAD", Path: "/x?y=1"}}, 20*time.Second)
	got := <-requests
	if !r.OK || got.Method != "HEAD" || got.Host != "a.test" || got.RequestURI != "/x?y=1" || got.UserAgent() != "Relay-Probe/1" || got.Header.Get(probe.Header) != "here" || !strings.HasPrefix(r.RequestID, "probe-") || got.Header.Get("X-Request-Id") != r.RequestID {
		t.Errorf("asked %+v, got %+v", got, r)
	}
	for _, phase := range []string{"connect", "processing", "transfer"} {
		if r.Phases[phase] <= 0 {
			t.Errorf("no time of the phase %s: %v", phase, r.Phases)
		}
	}
	for _, wrong := range []probe.Ask{{Path: "/x y"}, {Path: "x"}, {Path: "/x\r\nX: y"}, {Method: "GET /"}} {
		if r := ask(t, probe.Target{Kind: probe.HTTP, Address: address, Domain: "a.test", Ask: wrong}, time.Second); r.OK || r.Reason == "" || len(requests) > 0 {
			t.Errorf("%+v was asked: %+v", wrong, r)
		}
	}
}
