package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func post(ctx context.Context, h http.Handler, path string) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", path, nil))
	return w.Code
}

const (
	usr1 = "/_mlb_signal/usr1"
	hup  = "/_mlb_signal/hup"
)

func TestSlowReload(t *testing.T) {
	tests := []struct {
		name   string
		takes  time.Duration
		err    error
		status int
		after  time.Duration
	}{
		{"in time", 4*time.Second - time.Millisecond, nil, 204, 4*time.Second - time.Millisecond},
		{"fails in time", time.Second, errors.New("vault: sealed"), 500, time.Second},
		{"too long", time.Minute, nil, 202, 4 * time.Second},
		{"fails too late", time.Minute, errors.New("vault: sealed"), 202, 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var applied atomic.Bool
				cfg := newConfig(fakeViews{})
				cfg.ReloadCertificates = func(ctx context.Context) error {
					time.Sleep(tt.takes)
					applied.Store(ctx.Err() == nil)
					return tt.err
				}
				s := New(cfg, nil)
				start := time.Now()
				if got := post(t.Context(), s.Handler(), usr1); got != tt.status || time.Since(start) != tt.after {
					t.Errorf("%d after %v, want %d after %v", got, time.Since(start), tt.status, tt.after)
				}
				s.reloads[0].Wait(t.Context())
				if !applied.Load() || time.Since(start) != tt.takes {
					t.Errorf("the reload ended after %v, want it to go on for %v", time.Since(start), tt.takes)
				}
			})
		})
	}
}

func TestClientThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var applied atomic.Bool
		cfg := newConfig(fakeViews{})
		cfg.ReloadCertificates = func(ctx context.Context) error {
			time.Sleep(3 * time.Second)
			applied.Store(ctx.Err() == nil)
			return nil
		}
		s := New(cfg, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		post(ctx, s.Handler(), usr1)
		s.reloads[0].Wait(t.Context())
		if !applied.Load() {
			t.Error("the reload did not outlive its client")
		}
	})
}

// TestSignalStorm: however many ask, one reload runs and one waits, and nobody
// is answered by a reload that began before the question.
func TestSignalStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, running atomic.Int32
		cfg := newConfig(fakeViews{})
		cfg.ReloadCertificates = func(context.Context) error {
			if running.Add(1) > 1 {
				t.Error("two reloads run at once")
			}
			time.Sleep(time.Second)
			running.Add(-1)
			runs.Add(1)
			return nil
		}
		s := New(cfg, nil)
		start := time.Now()
		took := make(chan time.Duration, 201)
		ask := func() {
			if got := post(t.Context(), s.Handler(), usr1); got != http.StatusNoContent {
				t.Errorf("%d, want 204", got)
			}
			took <- time.Since(start)
		}
		go ask()
		time.Sleep(500 * time.Millisecond)
		for range 200 {
			go ask()
		}
		if got := <-took; got != time.Second {
			t.Errorf("the first was answered after %v, want 1s", got)
		}
		for range 200 {
			if got := <-took; got != 2*time.Second {
				t.Errorf("answered after %v, want 2s", got)
			}
		}
		if got := runs.Load(); got != 2 {
			t.Errorf("%d reloads, want 2", got)
		}
	})
}

// hup reads apps and certificates at once, and neither waits for the other: while
// Marathon is away certificates are read at each hook, and each is answered in
// time.
func TestHupWhileAppsCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var certificates, apps atomic.Int32
		var failure error
		cfg := newConfig(fakeViews{})
		cfg.ReloadCertificates = func(context.Context) error {
			certificates.Add(1)
			return failure
		}
		back := make(chan struct{})
		cfg.ReloadApps = func(context.Context) error {
			apps.Add(1)
			<-back
			return nil
		}
		s := New(cfg, nil)
		ask := func(path string, status int, takes time.Duration) {
			t.Helper()
			before, start := certificates.Load(), time.Now()
			answered := make(chan int)
			go func() { answered <- post(t.Context(), s.Handler(), path) }()
			synctest.Wait()
			if got := certificates.Load() - before; got != 1 {
				t.Errorf("%s: certificates were read %d times at once, want 1", path, got)
			}
			if got := <-answered; got != status || time.Since(start) != takes {
				t.Errorf("%s: %d after %s, want %d after %s", path, got, time.Since(start), status, takes)
			}
		}
		ask(hup, http.StatusAccepted, signalWait)
		ask(hup, http.StatusAccepted, signalWait)
		ask(usr1, http.StatusNoContent, 0)
		failure = errors.New("vault: sealed")
		ask(hup, http.StatusInternalServerError, signalWait)
		failure = nil
		close(back)
		synctest.Wait()
		ask(hup, http.StatusNoContent, 0)
		if got := apps.Load(); got != 3 {
			t.Errorf("apps were read %d times, want 3: once for who came first, once for who came meanwhile, once for the last", got)
		}
	})
}

func TestReloadPanics(t *testing.T) {
	t.Parallel()
	cfg := newConfig(fakeViews{})
	cfg.ReloadCertificates = func(context.Context) error { panic("no") }
	s := New(cfg, nil)
	for range 2 { // the hook must work on
		if got := post(t.Context(), s.Handler(), usr1); got != http.StatusInternalServerError {
			t.Errorf("%d, want 500", got)
		}
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	cfg := newConfig(fakeViews{})
	cfg.ReloadCertificates = func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}
	l := listen(t)
	s := New(cfg, l)
	ctx, cancel := context.WithCancel(t.Context())
	done, status := make(chan error, 1), make(chan int, 1)
	go func() { done <- s.Serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	go func() {
		resp, err := client.Post("http://"+l.Addr().String()+usr1, "", nil)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	<-started
	cancel()
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("%d, want 503", got)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v", err)
	}
	if got := post(t.Context(), s.Handler(), usr1); got != http.StatusServiceUnavailable {
		t.Errorf("after the end: %d, want 503", got)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "shutting down\n" {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
}

// FuzzSignal: nothing but POST on a hook's own path reloads anything, and no
// request is answered by a redirect.
func FuzzSignal(f *testing.F) {
	for _, seed := range [][2]string{
		{"POST", "/_mlb_signal/usr1"}, {"GET", "/_mlb_signal/usr1"}, {"POST", "//_mlb_signal/hup"},
		{"POST", "/_mlb_signal/hup/"}, {"HEAD", "/_mlb_signal/../"}, {"POST", "/_mlb_signal/%75sr1"},
		{"CONNECT", "/"}, {"POST", ""}, {"GET", "/api/v1/apps/%2F"}, {"OPTIONS", "*"}, {"GET", "/api"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u := "http://relay.test" + target
		r, err := http.NewRequestWithContext(t.Context(), method, u, nil)
		if err != nil {
			return // net/http would not have let it through
		}
		var reloads atomic.Int32
		cfg := newConfig(fakeViews{})
		count := func(context.Context) error { reloads.Add(1); return nil }
		cfg.ReloadCertificates, cfg.ReloadApps = count, func(context.Context) error { reloads.Add(100); return nil }
		w := httptest.NewRecorder()
		New(cfg, nil).Handler().ServeHTTP(w, r)
		if w.Code >= 500 || w.Code/100 == 3 {
			t.Errorf("%s %q: %d", method, target, w.Code)
		}
		p := path.Clean("/" + r.URL.Path)
		want := int32(0)
		if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/") {
			want = map[string]int32{usr1: 1, hup: 101}[p]
		}
		if got := reloads.Load(); got != want {
			t.Errorf("%s %q (path %q): %d reloads, want %d", method, target, r.URL.Path, got, want)
		}
	})
}
