package admin

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"relay/internal/secret"
)

// Who may not use the endpoint any more, as the token is another one, reads no events either.
func TestEventsEndWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var token atomic.Pointer[secret.String]
		first, second := secret.String("token-1"), secret.String("token-2")
		token.Store(&first)
		cfg := newConfig(fakeViews{})
		cfg.Access.Token = func() secret.String { return *token.Load() }
		s := New(cfg, nil)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, eventsPath, nil)
		r.SetBasicAuth("anna", "token-1")
		w, ended := &flushed{recorded{header: make(http.Header)}}, make(chan struct{})
		go func() {
			defer close(ended)
			s.Handler().ServeHTTP(w, r)
		}()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatalf("it ends at once: %d %s", w.status, w.body.String())
		default:
		}
		token.Store(&second)
		<-ended
		if !strings.Contains(w.body.String(), "event: status") {
			t.Errorf("the answer is %q", w.body.String())
		}
	})
}

// flushed is an answer whose pieces are sent at once.
type flushed struct{ recorded }

// Flush implements http.Flusher.
func (f *flushed) Flush() {}

// slowDumps are dumps that are not read to the end.
type slowDumps struct {
	fakeViews
	entered, leave chan struct{}
}

func (s slowDumps) WriteDump(io.Writer, string, string, string) error {
	s.entered <- struct{}{}
	<-s.leave
	return nil
}

// Dumps that are read slowly take no place of other requests, and are not more than a few.
func TestSlowDumps(t *testing.T) {
	t.Parallel()
	views := slowDumps{entered: make(chan struct{}), leave: make(chan struct{})}
	cfg := newConfig(views)
	cfg.Limits = DefaultLimits()
	cfg.Limits.Requests = 1
	s := New(cfg, listen(t))
	t.Cleanup(func() { _ = s.listener.Close() })
	ask := func(path string) (status int) {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code
	}
	var wg sync.WaitGroup
	for range maxDumps {
		wg.Go(func() { ask(dumpPath + "?fleet=external") })
		<-views.entered
	}
	if status := ask("/api/v1/apps"); status != http.StatusOK {
		t.Errorf("another request is answered by %d", status)
	}
	if status := ask(dumpPath + "?fleet=external"); status != http.StatusServiceUnavailable {
		t.Errorf("one dump too many is answered by %d", status)
	}
	close(views.leave)
	wg.Wait()
	go func() { <-views.entered }()
	if status := ask(dumpPath + "?fleet=external"); status != http.StatusOK {
		t.Errorf("a dump after that is answered by %d", status)
	}
}
