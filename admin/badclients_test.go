package admin

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator"
	"relay/internal/logtest"
	"relay/internal/secret"
)

// guarded is an endpoint that takes a token or a certificate, and a client that
// means well, with the token.
type guarded struct {
	t       *testing.T
	ca      *certstest.CA
	address string
	log     *logtest.Buffer
	good    *http.Client
}

func startGuarded(t *testing.T, change func(*Config)) *guarded {
	t.Helper()
	g := &guarded{t: t, ca: certstest.TestCA(t), log: &logtest.Buffer{}}
	cfg := newConfig(fakeViews{})
	var err error
	if cfg.TLS, err = g.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).ServerTLS(); err != nil {
		t.Fatal(err)
	}
	cfg.TLS.ClientAuth, cfg.TLS.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
	cfg.TLS.ClientCAs.AppendCertsFromPEM(g.ca.RootPEM())
	cfg.Log = slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg.Access = Access{Token: func() secret.String { return "s3cret" }, ClientCertificates: true, HookNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	change(&cfg)
	g.address = strings.TrimPrefix(serve(t, cfg), "http://")
	g.good = g.client(g.config(nil, certstest.Options{}))
	g.while(func() {})
	return g
}

// config is that of a client that trusts the endpoint, with a certificate of an
// authority if one is given.
func (g *guarded) config(ca *certstest.CA, o certstest.Options) *tls.Config {
	g.t.Helper()
	config := g.ca.ClientTLS()
	config.ServerName = "relay.test"
	if ca != nil {
		issued := ca.TestIssue(g.t, []string{"client.test"}, o)
		pair, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
		if err != nil {
			g.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

func (g *guarded) client(config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config}
	g.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// ask sends a request with a token.
func (g *guarded) ask(client *http.Client, method, path, token string, body io.Reader) (int, error) {
	req, err := http.NewRequest(method, "https://"+g.address+path, body)
	if err != nil {
		return 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

// while calls a hook again and again as long as others do something, and sees
// that it is answered in normal time.
func (g *guarded) while(others func()) {
	g.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		others()
	}()
	var took []time.Duration
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for ended := false; !ended || len(took) < 5; <-pace.C {
		select {
		case <-done:
			ended = true
		default:
		}
		start := time.Now()
		if status, err := g.ask(g.good, "POST", hookPrefix+"usr1", "s3cret", nil); err != nil || status != http.StatusNoContent {
			g.t.Fatalf("a hook is answered by %d, %v", status, err)
		}
		took = append(took, time.Since(start))
	}
	// A millisecond on an idle machine; one that is busy has a bad moment.
	slices.Sort(took)
	if median, most := took[len(took)/2], took[len(took)-1]; median > 200*time.Millisecond || most > 5*time.Second {
		g.t.Errorf("a hook was answered after %s, at most %s", median, most)
	}
}

// Each broken or hostile client is refused, logged once however often it comes
// again, and keeps no hook from being answered.
func TestBadClients(t *testing.T) {
	t.Parallel()
	stranger := certstest.TestCA(t)
	expired := certstest.Options{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	huge := make([]byte, 100_000_000)
	head := "POST " + hookPrefix + "usr1 HTTP/1.1\r\nHost: relay.test\r\n"

	type try func() error
	refusedTLS := func(config *tls.Config, g *guarded) try {
		return func() error {
			client := g.client(config)
			defer client.CloseIdleConnections()
			if status, err := g.ask(client, "GET", "/", "", nil); err == nil {
				return fmt.Errorf("status %d", status)
			}
			return nil
		}
	}
	answered := func(g *guarded, want int, method, path, token string, body func() io.Reader) try {
		client := g.client(g.config(nil, certstest.Options{}))
		return func() error {
			var from io.Reader
			if body != nil {
				from = body()
			}
			// The answer may be lost when the connection is closed on what is
			// still being sent.
			if status, err := g.ask(client, method, path, token, from); err == nil && status != want {
				return fmt.Errorf("status %d, want %d", status, want)
			}
			return nil
		}
	}
	tests := []struct {
		name string
		slow bool
		make func(*guarded) try
		says string // "" where nothing is logged
	}{
		{"plain text", false, func(g *guarded) try {
			return func() error { return g.send(false, "GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n", 0) }
		}, "it speaks plain text, this port takes TLS: use https://"},
		{"wrong authority", false, func(g *guarded) try { return refusedTLS(g.config(stranger, certstest.Options{}), g) },
			"none of the authorities in --admin-client-ca"},
		{"expired certificate", false, func(g *guarded) try { return refusedTLS(g.config(g.ca, expired), g) }, "renew it"},
		{"does not trust Relay", false, func(g *guarded) try {
			config := g.config(nil, certstest.Options{})
			config.RootCAs = stranger.ClientTLS().RootCAs
			return refusedTLS(config, g)
		}, "does not trust the certificate in --admin-cert"},
		{"wrong token", false, func(g *guarded) try { return answered(g, 401, "GET", "/", "guess", nil) }, "compare it with the one in --admin-token-file"},
		{"no token", false, func(g *guarded) try { return answered(g, 401, "GET", "/", "", nil) }, ""},
		{"hook from elsewhere", false, func(g *guarded) try { return answered(g, 401, "POST", hookPrefix+"hup", "", nil) }, "add its network to --signal-networks"},
		{"large body", false, func(g *guarded) try {
			return answered(g, 413, "POST", hookPrefix+"usr1", "s3cret", func() io.Reader { return bytes.NewReader(huge) })
		}, "a body of 100000000 bytes"},
		{"large body of unknown length", false, func(g *guarded) try {
			return answered(g, 204, "POST", hookPrefix+"usr1", "s3cret", func() io.Reader { return io.MultiReader(bytes.NewReader(huge)) })
		}, ""},
		{"large header", false, func(g *guarded) try {
			return func() error { return g.send(true, head+"X: "+strings.Repeat("x", 1<<20), 0) }
		}, ""},
		{"silence", true, func(g *guarded) try { return func() error { return g.send(false, "", 0) } }, "no request came within"},
		{"TLS handshake in drips", true, func(g *guarded) try {
			return func() error { return g.send(false, strings.Repeat("\x16\x03\x01\x02\x00", 100), 50*time.Millisecond) }
		}, "no request came within"},
		{"header in drips", true, func(g *guarded) try {
			return func() error { return g.send(true, head+strings.Repeat("X: y\r\n", 100), 20*time.Millisecond) }
		}, "no request came within"},
		{"body in drips", true, func(g *guarded) try {
			return func() error {
				return g.send(true, head+"Authorization: Bearer s3cret\r\nContent-Length: 60000\r\n\r\n"+strings.Repeat("x", 60000), 20*time.Millisecond)
			}
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := startGuarded(t, func(c *Config) {
				if tt.slow {
					c.Limits = DefaultLimits()
					c.Limits.Request = 2 * time.Second
				}
				// Not where it must not be reached: a second is short on a busy machine.
				if tt.slow && tt.says != "" {
					c.Limits.Header = time.Second
				}
			})
			try := tt.make(g)
			g.while(func() {
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						for range 2 {
							if err := try(); err != nil {
								t.Errorf("a client was not refused: %v", err)
							}
						}
					})
				}
				wg.Wait()
			})
			want := 0
			if tt.says != "" {
				g.logs(tt.says)
				want = 1
			}
			text := strings.Join(g.log.Lines(""), "")
			if strings.Count(text, "\n") != want || strings.Count(text, "address=127.0.0.1 ") != want {
				t.Errorf("the log says %q; want a line %q, with the address", text, tt.says)
			}
			if strings.Contains(text, "s3cret") || strings.Contains(text, "guess") {
				t.Errorf("the log has a token: %s", text)
			}
		})
	}
}

// send connects, by TLS or not, sends something, at once or byte by byte after the head of a request, and
// waits until the endpoint closes the connection.
func (g *guarded) send(secure bool, text string, pause time.Duration) error {
	var conn net.Conn
	var err error
	if secure {
		conn, err = tls.Dial("tcp", g.address, g.config(nil, certstest.Options{}))
	} else {
		conn, err = net.Dial("tcp", g.address)
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			ended <- errors.New("the connection stays open")
			return
		}
		ended <- nil
	}()
	if pause == 0 {
		_, _ = io.WriteString(conn, text)
		return <-ended
	}
	head, body, ok := strings.Cut(text, "\r\n\r\n")
	if ok {
		_, _ = io.WriteString(conn, head+"\r\n\r\n")
		text = body
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range len(text) {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			_, _ = conn.Write([]byte{text[i]})
		}
	}
	return <-ended
}

// Connections that say nothing are bounded, and so are requests that take long;
// hooks and health checks are answered beside them.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	views := slowViews{entered: make(chan struct{}), leave: make(chan struct{})}
	g := startGuarded(t, func(c *Config) {
		c.Views = views
		c.Limits = DefaultLimits()
		c.Limits.IdlePerAddress, c.Limits.Requests = 20, 2
		c.Limits.Header = time.Minute // an idle connection that is cut off is told too
	})
	g.while(func() {
		for range 60 {
			conn, err := net.Dial("tcp", g.address)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
		g.logs("more than 20 connections from there")
	})

	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if status, err := g.ask(g.good, "GET", "/api/v1/apps", "s3cret", nil); err != nil || status != http.StatusOK {
				t.Errorf("a slow request is answered by %d, %v", status, err)
			}
		})
		<-views.entered
	}
	g.while(func() {
		for range 3 {
			if status, err := g.ask(g.good, "GET", "/api/v1/apps", "s3cret", nil); err != nil || status != http.StatusServiceUnavailable {
				t.Errorf("one request too many is answered by %d, %v", status, err)
			}
		}
		if status, err := g.ask(g.good, "GET", "/healthz", "", nil); err != nil || status != http.StatusOK {
			t.Errorf("a health check is answered by %d, %v", status, err)
		}
	})
	close(views.leave)
	wg.Wait()
	if refused := g.log.Lines(""); len(refused) != 2 || !strings.Contains(refused[1], "2 requests are being answered") {
		t.Errorf("the log says %q, want a line about connections and one about requests", refused)
	}
}

// slowViews takes its time to list the apps.
type slowViews struct {
	fakeViews
	entered, leave chan struct{}
}

func (s slowViews) AppEntries() []*collator.AppEntry {
	s.entered <- struct{}{}
	<-s.leave
	return nil
}

// logs returns once the log has the words.
func (g *guarded) logs(words string) {
	g.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(g.log.Lines(words)) == 0; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Errorf("the log does not say %q: %q", words, g.log.String())
			return
		}
	}
}
