package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testClient asks a server that answers so.
func testClient(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := New(Settings{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The parsed events of a stream, also of an odd one.
func TestReadEvents(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]string{
		"event: change\nid: 7\ndata: {}\n\n":                         "change 7 {};",
		"data: a\ndata: b\n\n":                                       "message  a\nb;",
		": comment\n\nevent:status\r\ndata:x\r\n\r\n":                "status  x;",
		"event: x\n\ndata: y\n\n":                                    "message  y;",
		"data: cut off":                                              "",
		"data: cut off\n":                                            "",
		"unknown: 1\nretry: 5\ndata\n\n":                             "message  ;",
		"id: 1\ndata: a\n\ndata: b\n\n":                              "message 1 a;message  b;",
		"data: " + strings.Repeat("x", maxEvent) + "\n\n":            "token too long",
		strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 20): "token too long",
	} {
		var got strings.Builder
		err := readEvents(strings.NewReader(stream), func() {}, func(e Event) error {
			fmt.Fprintf(&got, "%s %s %s;", e.Name, e.ID, e.Data)
			return nil
		})
		if err != nil {
			fmt.Fprint(&got, strings.TrimPrefix(err.Error(), "bufio.Scanner: "))
		}
		if got.String() != want {
			t.Errorf("%.60q: %.80q, want %q", stream, got.String(), want)
		}
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("event: change\nid: 7\ndata: {}\n\n: x\r\n\r\ndata\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		_ = readEvents(strings.NewReader(stream), func() {}, func(e Event) error {
			if e.Name == "" || strings.ContainsAny(e.Name+e.ID, "\n") {
				t.Fatalf("%q: %+v", stream, e)
			}
			return nil
		})
	})
}

// A stream that ends, or says nothing, is opened again after the last change that was seen.
func TestEventsAreFollowed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var after []string
	hang := make(chan struct{})
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		after = append(after, r.Header.Get("Last-Event-ID"))
		stream := len(after)
		mu.Unlock()
		if stream == 2 {
			http.Error(w, "too many read events", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: %d\nevent: change\ndata: %d\n\nevent: failure\ndata: x\n\n", stream, stream)
		w.(http.Flusher).Flush()
		if stream == 3 {
			select { // silent, not ended
			case <-r.Context().Done():
			case <-hang:
			}
		}
	})
	defer close(hang)
	var waits []time.Duration
	c.pause = func(_ context.Context, wait time.Duration) error {
		waits = append(waits, wait)
		c.silence = time.Minute
		return nil
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var got []string
	var lost []string
	err := c.Events(ctx, func(e Event) error {
		if e.ID != "" {
			got = append(got, string(e.Data))
		}
		switch string(e.Data) {
		case "3": // what comes with it is read still
			c.silence = 50 * time.Millisecond
		case "4":
			stop()
		}
		return nil
	}, func(err error, _ time.Duration) { lost = append(lost, err.Error()) })
	mu.Lock()
	defer mu.Unlock()
	if !errors.Is(err, context.Canceled) || !slices.Equal(got, []string{"1", "3", "4"}) || !slices.Equal(after, []string{"", "1", "1", "3"}) {
		t.Errorf("%v, %q after %q", err, got, after)
	}
	if len(lost) != 3 || !strings.Contains(lost[0], "it ended") || !strings.Contains(lost[1], "too many read events") || !strings.Contains(lost[2], "it said nothing for 50ms") {
		t.Errorf("lost: %q", lost)
	}
	for i, wait := range waits {
		if wait < leastWait/2 || wait > 2*leastWait {
			t.Errorf("wait %d is %s", i, wait)
		}
	}
}

// What will not get better ends the command: nobody there at the start, a token that is refused,
// an error of who reads.
func TestEventsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	never := func(error, time.Duration) { t.Error("it is tried again") }
	gone := testClient(t, func(http.ResponseWriter, *http.Request) {})
	gone.settings.Address, gone.base.Host = "127.0.0.1:1", "127.0.0.1:1"
	if err := gone.Events(t.Context(), nil, never); KindOf(err) != Unreachable {
		t.Error(err)
	}
	denied := testClient(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	if err := denied.Events(t.Context(), nil, never); KindOf(err) != Denied {
		t.Error(err)
	}
	full := errors.New("the disk is full")
	some := testClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: x\n\n")
	})
	if err := some.Events(t.Context(), func(Event) error { return full }, never); !errors.Is(err, full) {
		t.Error(err)
	}
}

// A stream that breaks off says so, and an answer that is too long is not kept.
func TestAnswersThatAreCutOff(t *testing.T) {
	t.Parallel()
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/long") {
			_, _ = w.Write(make([]byte, maxAnswer+1))
			return
		}
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"a":`)
	})
	body, err := c.Stream(t.Context(), "x", nil, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(body); KindOf(err) != Unreachable || !strings.Contains(err.Error(), "broke off") {
		t.Error(err)
	}
	_ = body.Close()
	if _, err := c.Get(t.Context(), "x", nil); KindOf(err) != Unreachable || !strings.Contains(err.Error(), "broke off") {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), "long", nil); err == nil || !strings.Contains(err.Error(), "ask for less") {
		t.Error(err)
	}
}

func TestPathOf(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{"/shop/web": "apps/shop/web", "a b?c#d": "apps/a%20b%3Fc%23d", "/ü/%2e": "apps/%C3%BC/%252e"} {
		if got := PathOf("apps", id); got != want {
			t.Errorf("%q: %s, want %s", id, got, want)
		}
	}
}
