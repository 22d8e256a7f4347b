package statuspage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin/api"
)

// Probes gives what a place found last: all probes, not a page of them. An error is that nothing is known now.
type Probes func(context.Context) (api.Probes, error)

// Config is what a Monitor needs.
type Config struct {
	Settings Settings
	// Dir is where history and incidents are kept; without it they are forgotten at the end.
	Dir string
	// Own are the probes of this process, which is a place too; nil if it has none.
	Own Probes
	Log *slog.Logger
	// Registerer gets the metrics; nil gets none.
	Registerer prometheus.Registerer
}

// Monitor finds out how the services are, keeps their history and the incidents, and makes the View of it. Its methods may be
// called at any time, before Serve and after it too.
type Monitor struct {
	cfg Config

	mu      sync.Mutex
	view    View
	changed chan struct{}
}

// New returns a Monitor. It neither asks nor writes before Serve.
func New(cfg Config) *Monitor {
	m := &Monitor{cfg: cfg, changed: make(chan struct{})}
	m.view = View{Title: cfg.Settings.Title, URL: cfg.Settings.URL, Time: time.Now().UTC(), State: Unknown}
	for _, s := range cfg.Settings.Services {
		m.view.Services = append(m.view.Services, Service{Name: s.Name, Description: s.Description, Group: s.Group, State: Unknown})
	}
	return m
}

// View is what the page shows now. Nobody changes it any more: all may read it at the same time.
func (m *Monitor) View() View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

// Changed is closed when the View changes the next time in something besides its Time. Ask for it before the View.
func (m *Monitor) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Serve looks until the context ends.
func (m *Monitor) Serve(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
