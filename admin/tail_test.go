package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/admin/api"
	"relay/internal/logtest"
	"relay/internal/secret"
)

// fakeTails hands on what a test gives it.
type fakeTails struct {
	steps   chan fakeStep
	asked   chan string
	refusal error
	open    atomic.Int32
}

type fakeStep struct {
	requests []api.Request
	notice   *api.Notice
}

func newFakeTails() *fakeTails {
	return &fakeTails{steps: make(chan fakeStep, 100), asked: make(chan string, 100)}
}

func (f *fakeTails) Tail(_ context.Context, subject string, unmasked bool) (Tail, error) {
	if unmasked {
		subject += " unmasked"
	}
	f.asked <- subject
	if f.refusal != nil {
		return nil, f.refusal
	}
	f.open.Add(1)
	return f, nil
}

func (f *fakeTails) Next(ctx context.Context) ([]api.Request, *api.Notice, error) {
	select {
	case step := <-f.steps:
		return step.requests, step.notice, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

func (f *fakeTails) Close() { f.open.Add(-1) }

func (f *fakeTails) closed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); f.open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the tail stays open")
		}
	}
}

func followed(t *testing.T, client *http.Client, url, accept string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.SetBasicAuth("anna", "token-1")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

// A tail is a line for each request and notice, or an event, until the reader goes. The log says
// who it was.
func TestTailStream(t *testing.T) {
	t.Parallel()
	for _, accept := range []string{"*/*", "text/event-stream"} {
		synctest.Test(t, func(t *testing.T) { testTailStream(t, accept) })
	}
}

func testTailStream(t *testing.T, accept string) {
	tails, log := newFakeTails(), &logtest.Buffer{}
	cfg := newConfig(fakeViews{})
	cfg.Tails, cfg.Log = tails, slog.New(slog.NewTextHandler(log, nil))
	cfg.Limits = DefaultLimits()
	cfg.Limits.Request = 50 * time.Millisecond // it goes on for longer
	client := serveInMemory(t, cfg)
	tails.steps <- fakeStep{notice: &api.Notice{State: api.TailOn, Text: "on", Envoys: 2}}
	resp, lines := followed(t, client, "http://relay.test/api/v1/tail?subject=/shop/web&unmasked=true", accept)
	if got := <-tails.asked; got != "/shop/web unmasked" {
		t.Errorf("asked for %q", got)
	}
	time.AfterFunc(100*time.Millisecond, func() {
		tails.steps <- fakeStep{requests: []api.Request{{App: "/shop/web", Path: "/a\u009b"}, {App: "/shop/web", Path: "/b"}}}
	})
	wantLines := []string{
		`{"notice":{"state":"on","text":"on","envoys":2}}`, `"path":"/a`, `"path":"/b"`,
	}
	if strings.HasPrefix(accept, "text/") {
		wantLines = []string{"event: notice", "data: " + wantLines[0], "", "event: request", `"path":"/a`, "", "event: request", `data: {`, ""}
	}
	for _, want := range wantLines {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("%s: %q, %v, want %s", accept, lines.Text(), lines.Err(), want)
		}
	}
	_ = resp.Body.Close()
	tails.closed(t)
	for _, want := range []string{"event=tail_started", "event=tail_ended", "subject=/shop/web", "unmasked=true", "client=127.0.0.1", "identity=anna", "requests=2"} {
		if !waitFor(func() bool { return strings.Contains(log.String(), want) }) {
			t.Errorf("the log has no %s: %s", want, log)
		}
	}
}

func waitFor(check func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if check() {
			return true
		}
	}
	return false
}

// Who may not, and what cannot be, is refused at once.
func TestTailIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, query string
		refusal     error
		header      string
		status      int
		want        string
	}{
		{"nothing asked for", "", nil, "", 400, "the parameter subject is needed"},
		{"another parameter", "?subject=/a&masked=no", nil, "", 400, "no parameter"},
		{"another value", "?subject=/a&unmasked=yes", nil, "", 400, "unmasked"},
		{"unknown", "?subject=/a", TailRefusal{404, "nothing is known of /a; near it: /b"}, "", 404, "near it: /b"},
		{"too many", "?subject=/a", TailRefusal{503, "20 follow requests"}, "", 503, "20 follow"},
		{"a page of another site", "?subject=/a", nil, "cross-site", 403, ""},
	}
	for _, test := range tests {
		tails := newFakeTails()
		tails.refusal = test.refusal
		cfg := newConfig(fakeViews{})
		cfg.Tails = tails
		s := New(cfg, listen(t))
		defer func() { _ = s.listener.Close() }()
		r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1/api/v1/tail"+test.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.header != "" {
			r.Header.Set("Sec-Fetch-Site", test.header)
		}
		w := &recorded{header: http.Header{}}
		s.Handler().ServeHTTP(w, r)
		if w.status != test.status || !strings.Contains(w.body.String(), test.want) {
			t.Errorf("%s: %d %s", test.name, w.status, w.body.String())
		}
		if test.header != "" && len(tails.asked) > 0 {
			t.Errorf("%s: it is run", test.name)
		}
	}
}

type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }

// A tail ends when Relay stops, and when the token is another one; the last line says so.
func TestTailEnds(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"the token", "stop"} {
		tails := newFakeTails()
		token := atomic.Pointer[secret.String]{}
		first, second := secret.String("token-1"), secret.String("token-2")
		token.Store(&first)
		cfg := newConfig(fakeViews{})
		cfg.Tails, cfg.Access.Token = tails, func() secret.String { return *token.Load() }
		l := listen(t)
		s := New(cfg, l)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		tails.steps <- fakeStep{notice: &api.Notice{State: api.TailOn}}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		_, lines := followed(t, client, "http://"+l.Addr().String()+"/api/v1/tail?subject=/a", "*/*")
		lines.Scan()
		if reason == "stop" {
			cancel()
		} else {
			token.Store(&second)
			tails.steps <- fakeStep{notice: &api.Notice{State: api.TailOn}}
		}
		var last api.TailNotice
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &last) != nil || last.Notice.State != api.TailEnded || !strings.Contains(last.Notice.Text, reason) {
			t.Errorf("%s: the last line is %q", reason, lines.Text())
		}
		if lines.Scan() {
			t.Errorf("%s: and then %q", reason, lines.Text())
		}
		tails.closed(t)
		cancel()
		<-done
	}
}
