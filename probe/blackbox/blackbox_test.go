package blackbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"relay/certs/certstest"
	"relay/probe"
	"relay/probe/blackbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asks asks by a module of settings, with a CA if there is one.
func asks(t *testing.T, settings string, ca *certstest.CA, target probe.Target) probe.Result {
	t.Helper()
	return asksWithin(t, 20*time.Second, settings, ca, target)
}

// asksFor is how long what gets no answer is asked.
const asksFor = 3 * time.Second

func asksWithin(t *testing.T, limit time.Duration, settings string, ca *certstest.CA, target probe.Target) probe.Result {
	t.Helper()
	s, err := probe.Parse([]byte(settings))
	if err != nil {
		t.Fatal(err)
	}
	s.Place = "here"
	if ca != nil {
		s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(s.CAFile, ca.RootPEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	probers, err := blackbox.Probers(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	target.Ask.Module = cmpOr(target.Ask.Module, "m")
	target.Kind, _ = s.ModuleKind("m")
	return probers[target.Kind].Probe(ctx, target)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// serve accepts connections until the test ends.
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

func TestHTTPModule(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case r.Host != "a.test" || r.UserAgent() != "Relay-Probe/1" || r.Header.Get(probe.Header) != "here" || !strings.HasPrefix(r.Header.Get("X-Request-Id"), "probe-"):
			http.Error(w, "not from a probe", http.StatusTeapot)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case r.URL.Path == "/large":
			for range 3 << 10 {
				_, _ = io.WriteString(w, strings.Repeat("x", 1<<10))
			}
		case password != "hunter2secret":
			http.Error(w, "who are you?", http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, "welcome")
		}
	}))
	t.Cleanup(server.Close)
	const login = "modules: {m: {prober: http, http: {headers: {user-agent: mine, Host: b.test}, basic_auth: {username: u, password: hunter2secret}, fail_if_body_not_matches_regexp: [welcome]}}}"
	tests := []struct{ settings, path, reason string }{
		{login, "", ""},
		{"modules: {m: {prober: http}}", "/", "Invalid HTTP response status code, wanted 2xx: 401"},
		{"modules: {m: {prober: http, http: {valid_status_codes: [302]}}}", "/moved", ""},
		{"modules: {m: {prober: http, http: {follow_redirects: true}}}", "/moved", "Invalid HTTP response status code, wanted 2xx: 302"},
		{"modules: {m: {prober: http}}", "/large", "Failed to read HTTP response body: http: request body too large"},
		{strings.Replace(login, "welcome", "goodbye", 1), "/", "Body did not match regular expression"},
	}
	for _, proxied := range []bool{false, true} {
		address := server.Listener.Addr().String()
		if proxied {
			address = serve(t, behindProxy(address))
		}
		for _, tt := range tests {
			r := asks(t, tt.settings, nil, probe.Target{Address: address, Domain: "a.test", ProxyProtocol: proxied, Ask: probe.Ask{Path: tt.path}})
			reason := strings.TrimPrefix(r.Reason, "more than 2048 kB came: ") // the passage may be ahead
			if r.OK != (tt.reason == "") || reason != tt.reason || r.Status == 0 || !r.Answered || r.Phases["connect"] <= 0 {
				t.Errorf("%s (PROXY protocol: %v): got %+v, want %q", tt.settings, proxied, r, tt.reason)
			}
		}
	}
	if elsewhere.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// behindProxy takes a header of the PROXY protocol, and passes on what follows.
func behindProxy(address string) func(net.Conn) {
	return func(conn net.Conn) {
		header := make([]byte, 16)
		if _, err := io.ReadFull(conn, header); err != nil || string(header) != "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" {
			return
		}
		to, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer to.Close()
		go func() {
			_, _ = io.Copy(to, conn)
			_ = to.Close()
		}()
		_, _ = io.Copy(conn, to)
	}
}

// What a module says of secrets is in no result.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	const key = "hunter2secret"
	closed := serve(t, func(net.Conn) {})
	repeats := serve(t, func(conn net.Conn) { // what it is told comes back in lines
		_, _ = io.WriteString(conn, "220 "+key+"\n")
		_, _ = io.Copy(conn, conn)
	})
	for _, settings := range []string{
		"http: {basic_auth: {username: u, password: " + key + "}}}}",
		"http: {bearer_token: " + key + "}}}",
		`http: {authorization: {type: "Bearer", credentials: "` + key + `\u0001"}}}}`,
		`http: {headers: {X-Api-Key: "` + key + `\u0001"}}}}`,
		`http: {method: "G ET", body: ` + key + "}}}",
		"tcp: {query_response: [{expect: ^220}, {send: " + key + "}, {expect: welcome}]}}}",
		"tcp: {query_response: [{expect: " + key + "1}]}}}",
	} {
		kind, _, _ := strings.Cut(settings, ":")
		for _, address := range []string{closed, repeats, "127.0.0.1:1"} {
			r := asksWithin(t, asksFor, "modules: {m: {prober: "+kind+", "+strings.TrimSuffix(settings, "}}")+"}}", nil, probe.Target{Address: address, Domain: "a.test"})
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if all := fmt.Sprintf("%s %+v", text, r); r.OK || strings.Contains(all, key) {
				t.Errorf("%s: the result is %s", settings, all)
			}
		}
	}
}

func TestTCPModule(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	good, wrong := ca.TestIssue(t, []string{"mail.test"}, certstest.Options{}), ca.TestIssue(t, []string{"other.test"}, certstest.Options{})
	const dialogue = `modules: {m: {prober: tcp, tcp: {query_response: [{expect: "^220 "}, {send: "EHLO probe"}, {expect: "^250[- ]STARTTLS"}, {send: STARTTLS}, {expect: "^220"}, {starttls: true}, {send: QUIT}, {expect: "^221"}]}}}`
	tests := []struct {
		name, address, settings, reason string
		answered                        bool
	}{
		{"STARTTLS", serve(t, mail(t, good)), dialogue, "", true},
		{"STARTTLS with another certificate", serve(t, mail(t, wrong)), dialogue, "TLS Handshake (client) failed: tls: failed to verify certificate: x509: certificate is valid for other.test, not mail.test", true},
		{"another greeting", serve(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "554 no\r\n") }), dialogue, "Regexp did not match", true},
		{"silence", serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), dialogue, "no answer in time: ", false},
		{"closed at once", serve(t, func(net.Conn) {}), dialogue, "Regexp did not match", false},
		{"endless lines", serve(t, func(conn net.Conn) {
			var err error
			for err == nil {
				_, err = io.WriteString(conn, strings.Repeat("no\n", 10_000))
			}
		}), dialogue, "more than 1024 kB came: ", true},
		{"an endless line", serve(t, func(conn net.Conn) {
			var err error
			for err == nil {
				_, err = io.WriteString(conn, strings.Repeat("no", 10_000))
			}
		}), dialogue, "Error reading from connection: bufio.Scanner: token too long", true},
		{"nobody", "127.0.0.1:1", dialogue, "no connection to the Envoy: dial tcp 127.0.0.1:1: connect: connection refused", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limit := 20 * time.Second
			if tt.name == "silence" {
				limit = asksFor
			}
			r := asksWithin(t, limit, tt.settings, ca, probe.Target{Address: tt.address, ServerName: "mail.test"})
			if r.OK != (tt.reason == "") || !strings.Contains(r.Reason, tt.reason) || r.Answered != tt.answered {
				t.Errorf("got %+v, want %q", r, tt.reason)
			}
			if r.OK && r.CertificateExpires.Before(time.Now()) {
				t.Errorf("the certificate expires %v", r.CertificateExpires)
			}
		})
	}
}

// What an app sends costs no more than its bound, however fast it comes.
func TestPassageIsBounded(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	address := serve(t, func(conn net.Conn) {
		total, block := 0, strings.Repeat("no\n", 10_000)
		for {
			n, err := io.WriteString(conn, block)
			if total += n; err != nil || total > 1<<30 {
				sent <- total
				return
			}
		}
	})
	r := asks(t, `modules: {m: {prober: tcp, tcp: {query_response: [{expect: "^220 "}]}}}`, nil, probe.Target{Address: address})
	if n := <-sent; r.OK || n > 12<<20 {
		t.Errorf("%d bytes were taken: %+v", n, r)
	}
}

// mail is a server that begins TLS when it is told to.
func mail(t *testing.T, shown *certstest.Issued) func(net.Conn) {
	config, err := shown.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220 mail.test\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			switch strings.TrimSpace(lines.Text()) {
			case "EHLO probe":
				_, _ = io.WriteString(conn, "250-mail.test\r\n250 STARTTLS\r\n")
			case "STARTTLS":
				_, _ = io.WriteString(conn, "220 go on\r\n")
				conn = tlsServer(conn, config)
				lines = bufio.NewScanner(conn)
			case "QUIT":
				_, _ = io.WriteString(conn, "221 bye\r\n")
				return
			}
		}
	}
}
