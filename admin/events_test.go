package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
)

// fakeHistory is a History to which tests add.
type fakeHistory struct {
	mu      sync.Mutex
	changes []api.Change // the oldest first
}

func (f *fakeHistory) add(changes ...api.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		c.ID = uint64(len(f.changes) + 1)
		f.changes = append(f.changes, c)
	}
}

func (f *fakeHistory) Changes(q ChangeQuery) (newest []api.Change, total int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.changes) - 1; i >= 0; i-- {
		if c := f.changes[i]; (q.Before == 0 || c.ID < q.Before) && len(newest) < q.Limit {
			newest = append(newest, c)
		}
	}
	return newest, len(f.changes)
}

func (f *fakeHistory) ChangesAfter(id uint64, limit int) []api.Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := min(int(id), len(f.changes))
	return append([]api.Change(nil), f.changes[from:min(from+limit, len(f.changes))]...)
}
func (f *fakeHistory) LastChange(string) time.Time   { return time.Time{} }
func (f *fakeHistory) Convergence() *api.Convergence { return nil }
func (f *fakeHistory) FillSeries(s *api.Series)      { s.Changes[0] = 1 }

// movingViews are fakeViews that a test changes.
type movingViews struct {
	fakeViews
	mu   sync.Mutex
	more []problem.Problem
}

func (m *movingViews) Problems() []problem.Problem {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.fakeViews
	f.problems = append(append([]problem.Problem(nil), f.problems...), m.more...)
	return f.Problems()
}

func (m *movingViews) set(problems ...problem.Problem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.more = problems
}

// eventReader reads the events of a server.
type eventReader struct {
	t    *testing.T
	body io.ReadCloser
	scan *bufio.Scanner
}

func readEvents(t *testing.T, url, lastID string) *eventReader {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return readEventsBy(t, &http.Client{Transport: transport}, url, lastID)
}

func readEventsBy(t *testing.T, client *http.Client, url, lastID string) *eventReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+eventsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	t.Cleanup(func() { resp.Body.Close() })
	e := &eventReader{t, resp.Body, bufio.NewScanner(resp.Body)}
	e.scan.Buffer(nil, 1<<20)
	return e
}

// next returns the next event with the name, its id and its data.
func (e *eventReader) next(name string) (id, data string) {
	e.t.Helper()
	event := ""
	for e.scan.Scan() {
		field, value, _ := strings.Cut(e.scan.Text(), ": ")
		switch field {
		case "":
			if event == name {
				return id, data
			}
			event, id, data = "", "", ""
		case "event":
			event = value
		case "id":
			id = value
		case "data":
			data = value
		}
	}
	e.t.Fatalf("no event %q came: %v", name, e.scan.Err())
	return "", ""
}

// Whoever reads events has the status at once, then each change and problem, and none twice
// when it comes back.
func TestEvents(t *testing.T) {
	t.Parallel()
	views, history := &movingViews{fakeViews: busyViews()}, &fakeHistory{}
	history.add(api.Change{Cause: "before"})
	cfg := newConfig(views)
	cfg.History = history
	url := serve(t, cfg)
	first, second := readEvents(t, url, ""), readEvents(t, url, "")
	_, data := first.next("status")
	var status api.Status
	if err := json.Unmarshal([]byte(data), &status); err != nil || status.Counts.Problems != 11 || status.Series != nil || status.Point == nil || status.Point.Requests.Known() {
		t.Errorf("%v: %s", err, data)
	}
	history.add(api.Change{Cause: "one"}, api.Change{Cause: "two"})
	for i, cause := range []string{"one", "two"} {
		if id, data := first.next("change"); !strings.HasSuffix(id, fmt.Sprintf("-%d", i+2)) || !strings.Contains(data, cause) {
			t.Errorf("change %s is %s, want %s", id, data, cause)
		}
	}
	views.set(problem.Problem{Kind: problem.Tasks, App: "/new", Reason: "at token=hush"})
	_, data = first.next("problem")
	var event api.ProblemEvent
	if err := json.Unmarshal([]byte(data), &event); err != nil || event.Problems != 12 || len(event.Appeared) != 1 || event.Appeared[0].Subject != "/new" || strings.Contains(data, "hush") {
		t.Errorf("%v: %s", err, data)
	}
	for data = ""; !strings.Contains(data, `"problems":12`); {
		_, data = second.next("status")
	}
	views.set()
	if _, data = first.next("problem"); !strings.Contains(data, `"ended":[{`) {
		t.Errorf("the end of a problem is %s", data)
	}
	again := readEvents(t, url, "2")
	again.next("status")
	if id, _ := again.next("change"); !strings.HasSuffix(id, "-3") {
		t.Errorf("after change 2 comes %s, want 3", id)
	}
}

// A reader that comes back misses no change, also of a Relay that was started anew meanwhile, and
// whose changes are counted from 1 again.
func TestEventsAfterARestart(t *testing.T) {
	t.Parallel()
	run := func(causes ...string) (url string) {
		history := &fakeHistory{}
		for _, cause := range causes {
			history.add(api.Change{Cause: cause})
		}
		cfg := newConfig(fakeViews{})
		cfg.History = history
		return serve(t, cfg)
	}
	before, after := run("one", "two", "three"), run("start", "new", "newer", "newest")
	id, _ := readEvents(t, before, "").next("status")
	for _, step := range []struct{ url, id, want string }{
		{before, id, ""}, {before, "1", "two"}, {before, "3", ""},
		{after, id, "start"}, {after, strings.TrimSuffix(id, "3") + "9999", "start"}, {after, "9999", "start"}, {after, "1", "new"},
	} {
		r := readEvents(t, step.url, step.id)
		if step.want == "" {
			if id, _ := r.next("status"); !strings.HasSuffix(id, "-3") {
				t.Errorf("the status has the id %s", id)
			}
			continue
		}
		if _, data := r.next("change"); !strings.Contains(data, `"cause":"`+step.want+`"`) {
			t.Errorf("after %s comes %s, want %s", step.id, data, step.want)
		}
	}
}

// A status that is as before is not told again.
func TestEventsAreNotRepeated(t *testing.T) {
	t.Parallel()
	s := New(newConfig(busyViews()), nil)
	g := newGatherer(s)
	start := time.Now()
	if got := string(g.gather(start)); strings.Count(got, "event: status") != 1 {
		t.Errorf("the first events are %q", got)
	}
	s.shared.at = time.Time{} // it is computed anew
	if got := g.gather(start.Add(2 * time.Second)); len(got) > 0 {
		t.Errorf("nothing changed, and %q is told", got)
	}
}

// A reader that does not read is cut off, and keeps none of the others waiting.
func TestEventsOfReadersThatDoNotRead(t *testing.T) {
	t.Parallel()
	history := &fakeHistory{}
	cfg := newConfig(fakeViews{})
	cfg.History = history
	s := New(cfg, nil)
	one, _ := s.hub.join(nil)
	other, _ := s.hub.join(nil)
	g := s.hub.now
	for range maxUnread + 1 {
		s.hub.tell(g, []byte("data: x\n\n"), false)
		<-other.pieces
	}
	select {
	case <-one.late:
	default:
		t.Error("a reader that reads nothing is not cut off")
	}
	select {
	case <-other.late:
		t.Error("a reader that reads all is cut off")
	default:
	}
	s.hub.leave(one)
	s.hub.leave(other)
	if s.hub.now != nil {
		t.Error("events are made while nobody reads")
	}
}

func TestTooManyReadersOfEvents(t *testing.T) {
	t.Parallel()
	s := New(newConfig(fakeViews{}), nil)
	var all []*reader
	for range maxReaders {
		one, _ := s.hub.join(nil)
		all = append(all, one)
	}
	if one, _ := s.hub.join(nil); one != nil {
		t.Error("there may be more readers than the limit")
	}
	for _, one := range all {
		s.hub.leave(one)
	}
}

// Open pages take no place of a request, last longer than requests may take, and end when the
// server stops.
func TestEventsLastUntilTheServerStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		history := &fakeHistory{}
		cfg := newConfig(fakeViews{})
		cfg.History = history
		cfg.Limits = DefaultLimits()
		cfg.Limits.Requests, cfg.Limits.Header, cfg.Limits.Request = 1, 200*time.Millisecond, 300*time.Millisecond
		l, client := inMemory(t)
		s := New(cfg, l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx) }()
		const url = "http://relay.test"
		first, second := readEventsBy(t, client, url, ""), readEventsBy(t, client, url, "")
		for i := range 3 {
			time.Sleep(eventsPause) // longer than a request may take, in all
			history.add(api.Change{Cause: fmt.Sprint(i)})
			first.next("change")
			second.next("change")
		}
		resp, err := client.Get(url + "/api/v1/problems")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("while events are read, a request gets %v, %v", resp, err)
		} else {
			resp.Body.Close()
		}
		for _, open := range []*eventReader{first, second} { // in memory, an end that nobody reads cannot be written
			go func() { _, _ = io.Copy(io.Discard, open.body) }()
		}
		start := time.Now()
		cancel()
		if err := <-done; err != context.Canceled || time.Since(start) > shutdownPeriod-time.Second {
			t.Errorf("stopped with %v after %v", err, time.Since(start))
		}
	})
}

func TestLastEventIDIsANumber(t *testing.T) {
	t.Parallel()
	url := serve(t, newConfig(fakeViews{}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nLast-Event-ID: x\r\nConnection: close\r\n\r\n", eventsPath)
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("%s", answer)
	}
}
