package marathon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a Marathon inside a synctest bubble: an http.RoundTripper
// without network.
type scripted struct {
	mu       sync.Mutex
	requests []string // "<host> <path>"
	times    []time.Time
	events   func(w *io.PipeWriter) // writes the stream; nil refuses the connection
	list     string
}

const attachedEvent = "event: event_stream_attached\r\ndata: {\"eventType\":\"event_stream_attached\"}\r\n\r\n"

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.requests = append(s.requests, fmt.Sprintf("%s %s", r.URL.Host, r.URL.Path))
	s.times = append(s.times, time.Now())
	s.mu.Unlock()
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}
	if r.URL.Path != "/v2/events" {
		if s.list == "" {
			return nil, errors.New("refused")
		}
		resp.Body = io.NopCloser(strings.NewReader(s.list))
		return resp, nil
	}
	if s.events == nil {
		return nil, errors.New("refused")
	}
	in, out := io.Pipe()
	resp.Header.Set("Content-Type", "text/event-stream;charset=utf-8")
	resp.Body = in
	context.AfterFunc(r.Context(), func() { in.CloseWithError(r.Context().Err()) })
	go s.events(out)
	return resp, nil
}

// gaps returns the times between the requests for a path.
func (s *scripted) gaps(path string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []time.Duration
	last := time.Time{}
	for i, r := range s.requests {
		if !strings.HasSuffix(r, " "+path) {
			continue
		}
		if !last.IsZero() {
			list = append(list, s.times[i].Sub(last))
		}
		last = s.times[i]
	}
	return list
}

func newScripted(t *testing.T, s *scripted, urls ...string) *Watcher {
	t.Helper()
	w, err := New(Config{URLs: urls}, newRecorder(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.client.http.Transport = s
	return w
}

const listOfOne = `{"apps":[{"id":"/a"}]}`

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{}
		w := newScripted(t, s, "http://m1", "http://m2")
		for range 20 {
			if err := w.Serve(t.Context()); err == nil {
				t.Fatal("Serve succeeded")
			}
		}
		for i, gap := range s.gaps("/v2/events") {
			most := min(200*time.Millisecond<<i, 30*time.Second)
			if gap < most/2 || gap > most {
				t.Errorf("wait %d is %s, want %s to %s", i, gap, most/2, most)
			}
		}
		for i, r := range s.requests {
			if want := fmt.Sprintf("m%d /v2/events", i%2+1); r != want {
				t.Errorf("request %d: %s, want %s", i, r, want)
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := w.Serve(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("the end of ctx did not end the wait: %v after %s", err, time.Since(start))
		}
	})
}

func TestBackoffStartsOverAfterALongConnection(t *testing.T) {
	t.Parallel()
	a := attempts{min: 200 * time.Millisecond, max: 30 * time.Second, reset: time.Minute, servers: 3}
	fail := errors.New("x")
	for range 10 {
		a.ended(fail, time.Second, true)
	}
	if a.wait < 15*time.Second || a.server != 0 {
		t.Errorf("wait %s, server %d after ten short connections", a.wait, a.server)
	}
	a.ended(fail, time.Minute, true)
	if a.wait > 200*time.Millisecond || a.server != 0 {
		t.Errorf("wait %s, server %d after a long connection", a.wait, a.server)
	}
	a.ended(fmt.Errorf("x: %w", &statusError{code: 401}), 0, false)
	if a.wait < 30*time.Second || a.server != 1 {
		t.Errorf("wait %s, server %d after refused credentials", a.wait, a.server)
	}
}

func TestAttachTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{events: func(out *io.PipeWriter) { _, _ = out.Write([]byte("\r\n")) }}
		w := newScripted(t, s, "http://m1")
		start := time.Now()
		if err := w.Serve(t.Context()); !errors.Is(err, errNoEvent) || time.Since(start) != 15*time.Second {
			t.Errorf("%v after %s, want %v after 15 s", err, time.Since(start), errNoEvent)
		}
	})
}

func TestSilentStreamIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{list: listOfOne, events: func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent))
			for range 6 { // heartbeats, in two writes each
				time.Sleep(10 * time.Second)
				_, _ = out.Write([]byte("\r"))
				_, _ = out.Write([]byte("\n"))
			}
		}}
		w := newScripted(t, s, "http://m1")
		start := time.Now()
		if err := w.Serve(t.Context()); !errors.Is(err, errIdle) || time.Since(start) != 90*time.Second {
			t.Errorf("%v after %s, want %v after 90 s", err, time.Since(start), errIdle)
		}
		synctest.Wait()
	})
}

func TestEndOfStreamEndsTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{list: listOfOne, events: func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent))
			time.Sleep(time.Second)
			out.Close()
		}}
		w := newScripted(t, s, "http://m1")
		if err := w.Serve(t.Context()); !errors.Is(err, errStreamEnded) {
			t.Errorf("%v, want %v", err, errStreamEnded)
		}
	})
}

// beating keeps a stream up until its reader goes.
func beating(out *io.PipeWriter) {
	_, err := out.Write([]byte(attachedEvent))
	for err == nil {
		time.Sleep(10 * time.Second)
		_, err = out.Write([]byte("\r\n"))
	}
}

func TestPeriodicRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{list: listOfOne, events: beating}
		w := newScripted(t, s, "http://m1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := w.Serve(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		gaps := s.gaps("/v2/apps")
		if len(gaps) < 9 {
			t.Errorf("%d full reads in an hour", len(gaps))
		}
		for _, gap := range gaps {
			if gap < 4*time.Minute || gap > 6*time.Minute {
				t.Errorf("a full read after %s", gap)
			}
		}
		time.Sleep(time.Minute) // the writer of the stream notices
	})
}

// TestSecondLook has an app read again when a change did not show.
func TestSecondLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{list: listOfOne, events: func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent))
			time.Sleep(time.Second)
			_, _ = out.Write([]byte("data: {\"eventType\":\"status_update_event\",\"appId\":\"/a\"}\r\n\r\n"))
			time.Sleep(20 * time.Second)
			out.Close()
		}}
		w := newScripted(t, s, "http://m1")
		w.client.http.Transport = single{s}
		if err := w.Serve(t.Context()); !errors.Is(err, errStreamEnded) {
			t.Error(err)
		}
		if gaps := s.gaps("/v2/apps/a"); len(gaps) != 1 || gaps[0] != 1500*time.Millisecond {
			t.Errorf("gaps between reads %v, want 1.5 s once", gaps)
		}
	})
}

// single answers reads of /a as well.
type single struct{ *scripted }

func (s single) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.scripted.RoundTrip(r)
	if err == nil && r.URL.Path == "/v2/apps/a" {
		resp.Body = io.NopCloser(strings.NewReader(`{"app":{"id":"/a"}}`))
	}
	return resp, err
}

// TestGroupEventsArePaced bounds the full reads that events ask for.
func TestGroupEventsArePaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{list: listOfOne, events: func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent))
			for range 100 {
				time.Sleep(100 * time.Millisecond)
				_, _ = out.Write([]byte("data: {\"eventType\":\"group_change_success\",\"groupId\":\"/\"}\r\n\r\n"))
			}
			time.Sleep(20 * time.Second)
			out.Close()
		}}
		w := newScripted(t, s, "http://m1")
		if err := w.Serve(t.Context()); !errors.Is(err, errStreamEnded) {
			t.Error(err)
		}
		gaps := s.gaps("/v2/apps")
		if len(gaps) < 5 || len(gaps) > 11 {
			t.Errorf("%d full reads for 100 events in 10 s", len(gaps))
		}
		for _, gap := range gaps {
			if gap < time.Second {
				t.Errorf("a full read %s after the last", gap)
			}
		}
	})
}

func TestRefusedCredentialsWaitLonger(t *testing.T) {
	t.Parallel()
	if !hasStatus(fmt.Errorf("x: %w", &statusError{code: 401}), http.StatusUnauthorized) || hasStatus(io.EOF, 401) {
		t.Error("hasStatus")
	}
}
