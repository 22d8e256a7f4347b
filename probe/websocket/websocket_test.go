package websocket

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"relay/certs/certstest"
	"relay/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server, by TLS if it has a certificate, and returns how it is asked.
func serve(t *testing.T, ca *certstest.CA, handler http.HandlerFunc) (*Prober, probe.Target) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	target := probe.Target{Kind: probe.WebSocket, Domain: "shop.test", ServerName: "shop.test", Ask: probe.Ask{Path: "/chat"}}
	if ca == nil {
		server.Start()
	} else {
		config, err := ca.TestIssue(t, []string{"shop.test"}, certstest.Options{}).ServerTLS()
		if err != nil {
			t.Fatal(err)
		}
		server.TLS, target.TLS = config, true
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	target.Address = server.Listener.Addr().String()
	return New(Options{Place: "here", Roots: func() (*x509.CertPool, error) {
		if ca == nil {
			return nil, nil
		}
		return ca.ClientTLS().RootCAs, nil
	}}), target
}

// talks accepts a WebSocket, and does something with it.
func talks(talk func(ctx context.Context, conn *websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		talk(ctx, conn)
	}
}

func echo(ctx context.Context, conn *websocket.Conn) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil || conn.Write(ctx, kind, message) != nil {
			return
		}
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	for name, ca := range map[string]*certstest.CA{"plain": nil, "by TLS": certstest.TestCA(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 1)
			p, target := serve(t, ca, func(w http.ResponseWriter, r *http.Request) {
				asked <- strings.Join([]string{r.Host, r.URL.Path, r.UserAgent(), r.Header.Get(probe.Header), r.Header.Get("X-Request-Id")}, " ")
				talks(func(ctx context.Context, conn *websocket.Conn) {
					_ = conn.Write(ctx, websocket.MessageText, []byte("welcome"))
					echo(ctx, conn)
				})(w, r)
			})
			r := p.Probe(t.Context(), target)
			if !r.OK || !r.Answered || r.Status != 101 || r.CertificateExpires.IsZero() != (ca == nil) {
				t.Errorf("%+v", r)
			}
			if got := <-asked; got != "shop.test /chat Relay-Probe/1 here "+r.RequestID || !strings.HasPrefix(r.RequestID, "probe-") {
				t.Error(got)
			}
			target.Ask.Within = time.Nanosecond
			go func() { <-asked }()
			if r := p.Probe(t.Context(), target); r.OK || !r.Late || !strings.HasPrefix(r.Reason, "it took ") {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestExpectedText(t *testing.T) {
	t.Parallel()
	p, target := serve(t, nil, talks(func(ctx context.Context, conn *websocket.Conn) {
		_ = conn.Write(ctx, websocket.MessageText, []byte("you are welcome"))
		echo(ctx, conn)
	}))
	target.Ask.Contains = "welcome"
	if r := p.Probe(t.Context(), target); !r.OK {
		t.Errorf("%+v", r)
	}
}

// Each step is broken in turn: that one fails, and says what was seen.
func TestEachStepFails(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	for name, tt := range map[string]struct {
		handler    http.HandlerFunc
		change     func(*probe.Target)
		step, seen string
		answered   bool
	}{
		"nothing listens": {nil, func(t *probe.Target) { t.Address = "127.0.0.1:1" }, Connect, "the connection was refused", false},
		"another name":    {nil, func(t *probe.Target) { t.ServerName = "b.test" }, TLS, "certificate for shop.test, expires ", true},
		"no such domain": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Relay-Error", "no-such-domain")
			w.WriteHeader(404)
		}, nil, Open, "the Envoy answers no-such-domain (404): ", false},
		"no WebSocket":   {func(http.ResponseWriter, *http.Request) {}, nil, Open, "the app answers 200, and opens no WebSocket", true},
		"a redirect":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, nil, Open, "the app answers 302", true},
		"an odd upgrade": {oddly, nil, Open, "no valid one to a WebSocket", true},
		"nothing comes":  {talks(func(ctx context.Context, conn *websocket.Conn) { _, _, _ = conn.Read(ctx); _, _, _ = conn.Read(ctx) }), nil, Echo, "no answer until the probe's time was over", true},
		"other texts": {talks(func(ctx context.Context, conn *websocket.Conn) {
			for conn.Write(ctx, websocket.MessageText, []byte("news")) == nil {
			}
		}), nil, Echo, "16 messages came, none of them what was sent", true},
		"a large text": {talks(func(ctx context.Context, conn *websocket.Conn) {
			_ = conn.Write(ctx, websocket.MessageText, make([]byte, 1<<20))
			_, _, _ = conn.Read(ctx)
		}), nil, Echo, "", true},
		"closed": {talks(func(_ context.Context, conn *websocket.Conn) { _ = conn.Close(websocket.StatusTryAgainLater, "") }), nil, Echo, "closed with 1013", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, target := serve(t, ca, tt.handler)
			if tt.change != nil {
				tt.change(&target)
			}
			limit := 20 * time.Second
			if name == "nothing comes" {
				limit = 4 * time.Second // which ends it, and is enough for the steps before on a busy machine too
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			r := p.Probe(ctx, target)
			last := r.Steps[len(r.Steps)-1]
			if r.OK || last.OK || last.Name != tt.step || !strings.Contains(last.Seen, tt.seen) || last.Seen == "" || r.Answered != tt.answered {
				t.Errorf("%+v", r)
			}
		})
	}
}

// oddly answers that it changes the protocol, without what belongs to that.
func oddly(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = conn.Close()
}

// An app that sleeps is no failure.
func TestAsleepIsSkipped(t *testing.T) {
	t.Parallel()
	p, target := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Relay-Error", "asleep")
		w.WriteHeader(503)
	})
	if r := p.Probe(t.Context(), target); r.Skipped != "the app sleeps" {
		t.Errorf("%+v", r)
	}
}

// A server that never answers, nor ends, ends with the context.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, secured := range []bool{false, true} {
		target := probe.Target{Address: l.Addr().String(), Domain: "shop.test", ServerName: "shop.test", TLS: secured}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		begin := time.Now()
		r := New(Options{}).Probe(ctx, target)
		cancel()
		if took := time.Since(begin); r.OK || r.Answered || took > 5*time.Second || !strings.HasSuffix(r.Reason, "no answer until the probe's time was over") {
			t.Errorf("after %s: %+v", took, r)
		}
	}
}

// An app that does not answer the end of a WebSocket makes its probe take no longer.
func TestEndIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	p, target := serve(t, nil, talks(func(ctx context.Context, conn *websocket.Conn) {
		if kind, message, err := conn.Read(ctx); err == nil {
			_ = conn.Write(ctx, kind, message)
		}
		<-end // and reads no more
	}))
	defer close(end)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	begun := time.Now()
	r := p.Probe(ctx, target)
	// It does wait for the end, but not for long, and that is no part of how long the probe is said to have taken.
	if waited := time.Since(begun) - r.Duration; !r.OK || waited < closes || waited > 4*time.Second {
		t.Errorf("it took %v, and then the end was waited for %v: %q", r.Duration, waited, r.Reason)
	}
}

// An app that sends frames without end, of which none is a message, costs no more than its bound.
func TestEndlessFrames(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ frame, reason string }{
		"pings":            {"\x89\x00", "more than 100 pings came"},
		"pongs":            {"\x8a\x00", "more than 100 pings came"},
		"pieces of a text": {"\x00\x00", "more than 1088 kB came"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			p, target := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				go func() { _, _ = io.Copy(io.Discard, conn) }() // what answers pings
				accepted := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				text := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(accepted[:]) + "\r\n\r\n"
				if tt.frame[0] == 0 {
					text += "\x01\x00" // the text begins
				}
				for many := strings.Repeat(tt.frame, 10_000); err == nil; text = many {
					var n int
					n, err = io.WriteString(conn, text)
					sent.Add(int64(n))
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r := p.Probe(ctx, target)
			if r.OK || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("%+v", r)
			}
			if n := sent.Load(); n > 16<<20 {
				t.Errorf("%d bytes were sent", n)
			}
		})
	}
}
