// Package savedstate saves the apps that a source gave last, and serves them
// while the source cannot be read after a restart.
package savedstate

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/state"
	"relay/sources"
)

// Sink stands between a source and the next Sink.
type Sink struct {
	*state.Keeper[[]*sources.App]
	next sources.Sink
	apps map[string]*sources.App // under the keeper's lock
	// cause belongs to the source's goroutine.
	cause string
}

var _ sources.CauseSink = (*Sink)(nil)

// New returns a Sink that hands on to next. Passwords are saved only if the
// file is encrypted: see encode.
func New(cfg state.Config, next sources.Sink, log *slog.Logger, registerer prometheus.Registerer) *Sink {
	s := &Sink{next: next}
	codec := codec{keepSecrets: cfg.File.Key != nil}
	s.Keeper = state.New(cfg, state.Content[[]*sources.App]{
		Snapshot: func() []*sources.App { return slices.Collect(maps.Values(s.apps)) },
		Encode:   codec.encode, Decode: codec.decode,
		StandIn: func(apps []*sources.App) {
			sources.Because(next, "saved state stands in for the source")
			next.SyncApps(apps)
		},
	}, log, registerer)
	return s
}

// Load returns the apps that were saved in a file.
func Load(file state.File) ([]*sources.App, error) {
	body, _, err := file.Load()
	if err != nil {
		return nil, err
	}
	return codec{keepSecrets: file.Key != nil}.decode(body)
}

// AppsBecause implements sources.CauseSink.
func (s *Sink) AppsBecause(cause string) { s.cause = cause }

// because hands on why the next Sink is told something.
func (s *Sink) because() {
	sources.Because(s.next, s.cause)
	s.cause = ""
}

// SyncApps implements sources.Sink.
func (s *Sink) SyncApps(apps []*sources.App) {
	s.Sync(true, func() {
		s.apps = make(map[string]*sources.App, len(apps))
		s.set(apps)
		s.because()
		s.next.SyncApps(apps)
	})
}

// UpdateApps implements sources.Sink.
func (s *Sink) UpdateApps(set []*sources.App, removed []string) {
	s.Update(func() {
		for _, id := range removed {
			delete(s.apps, id)
		}
		s.set(set)
		s.because()
		s.next.UpdateApps(set, removed)
	})
}

func (s *Sink) set(apps []*sources.App) {
	for _, app := range apps {
		if app != nil {
			s.apps[app.ID] = app
		}
	}
}

func byID(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) }
