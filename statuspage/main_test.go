package statuspage

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"relay/admin/api"
	"relay/internal/logtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" { // a process of TestKilled
		writeUntilKilled(dir)
		return
	}
	if dir := os.Getenv(fullDir); dir != "" { // the process of TestFullDisk
		fillDisk(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// fakePlace is a place that says what it is told to.
type fakePlace struct {
	mu        sync.Mutex
	fails     map[string]bool // what the next round will find
	probes    map[string]*seenProbe
	interval  time.Duration
	away      bool
	begins    time.Time // before it, nothing was asked
	incidents []api.Incident
}

// newFakePlace asks for a probe of each domain, and finds it well.
func newFakePlace(domains ...string) *fakePlace {
	f := &fakePlace{fails: make(map[string]bool), probes: make(map[string]*seenProbe), interval: 30 * time.Second}
	for _, d := range domains {
		f.probes[d] = &seenProbe{ID: "external/edge-1/" + d, Name: d, Domain: d, Fleet: "external", Success: true}
	}
	return f
}

// find sets what is found of a domain from now on.
func (f *fakePlace) find(domain string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[domain] = !ok
}

func (f *fakePlace) findAll(ok bool) {
	for d := range f.probes {
		f.find(d, ok)
	}
}

func (f *fakePlace) leave(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// begin has it say nothing for a while, as after a start.
func (f *fakePlace) begin(after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begins = time.Now().Add(after)
}

// run asks all at once, each interval.
func (f *fakePlace) run(ctx context.Context) {
	last := make(map[string]bool)
	for ctx.Err() == nil {
		f.mu.Lock()
		for d, p := range f.probes {
			p.Time, p.Success = time.Now(), !f.fails[d]
			if was, ok := last[d]; !ok || was != p.Success {
				p.Since = p.Time
			}
			last[d] = p.Success
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(f.interval):
		}
	}
}

// read is a reader.
func (f *fakePlace) read(context.Context) (answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return answer{}, errors.New("no route to host")
	}
	a := answer{at: time.Now(), interval: f.interval, incidents: f.incidents}
	for _, p := range f.probes {
		if time.Now().After(f.begins) {
			a.probes = append(a.probes, *p)
		}
	}
	return a, nil
}

// monitored is a Monitor of fake places, which serves until the test or stop ends it.
func monitored(t *testing.T, cfg Config, places ...*fakePlace) (m *Monitor, stop func()) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	m = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i, p := range places {
		m.addPlace(string(rune('1'+i)), p.read)
		running.Go(func() { p.run(ctx) })
	}
	running.Go(func() {
		if err := m.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return m, stop
}

// states are those of all services, one word each.
func states(m *Monitor) string {
	var all []string
	for _, s := range m.View().Services {
		all = append(all, string(s.State))
	}
	return strings.Join(all, " ")
}

// quiet is a log that nobody reads.
var quiet = slog.New(slog.DiscardHandler)

// newLog returns a logger whose lines can be read.
func newLog() (*slog.Logger, *logtest.Buffer) {
	lines := new(logtest.Buffer)
	return slog.New(slog.NewTextHandler(lines, nil)), lines
}
