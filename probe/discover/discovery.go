package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/admin/api"
	"relay/internal/failure"
	"relay/probe"
)

// every is how often Relays are read, soonest how soon again where what was found asks for it, and readTimeout how long one
// may take.
const (
	every       = 15 * time.Second
	soonest     = 5 * time.Second
	readTimeout = 10 * time.Second
)

// Query is what a Relay is asked for.
type Query struct {
	// Sample is how many domains of each fleet are chosen by chance, by the epoch.
	Sample int
	Epoch  int64
}

// Relay is one that says what to ask.
type Relay struct {
	// Name is what people know it by, such as its address.
	Name string
	Read func(context.Context, Query) (api.ProbeTargets, error)
}

// Options are what a Discovery is made of.
type Options struct {
	Settings probe.Settings
	Relays   []Relay
	// Set is given the targets.
	Set func([]probe.Target)
	Log *slog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
}

// Discovery reads Relays again and again.
type Discovery struct {
	Options
	up   *prometheus.GaugeVec
	soon chan struct{}

	mu   sync.Mutex // held while Relays are read
	last []lastRead // of each Relay
}

// lastRead is what is known of a Relay.
type lastRead struct {
	answer api.ProbeTargets
	// known tells that it was read once, failed that it was not the last time.
	known, failed bool
}

// New returns a Discovery that has read nothing.
func New(o Options) *Discovery {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Discovery{Options: o, last: make([]lastRead, len(o.Relays)), soon: make(chan struct{}, 1), up: promauto.With(o.Registerer).NewGaugeVec(prometheus.GaugeOpts{
		Name: "relay_probe_relay_up", Help: "Whether a Relay could be read that says what to ask; while not, what it said last is asked.",
	}, []string{"relay"})}
}

// Serve reads until the context ends.
func (d *Discovery) Serve(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		begun := time.Now()
		_ = d.Refresh(ctx) // is logged
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			continue
		case <-d.soon:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(begun.Add(soonest))):
		}
	}
}

// Saw is told what was found. An app that was scaled to 0, or is gone, fails until its target is known to be none: so
// Relays are read again soon after a target has begun to fail in that way. It does not block.
func (d *Discovery) Saw(s probe.State) {
	if s.OK || s.Skipped != "" || !s.Since.Equal(s.Time) || s.Code != failure.Offline && s.Code != failure.NoSuchDomain {
		return
	}
	select {
	case d.soon <- struct{}{}:
	default:
	}
}

// Refresh reads all Relays and sets the targets. The error says which could not be read; of these, what they said last
// is used.
func (d *Discovery) Refresh(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	query := Query{Sample: min(d.Settings.Sample.Domains, api.MaxProbed), Epoch: d.Settings.Epoch(time.Now())}
	errs := make([]error, len(d.Relays))
	var reading sync.WaitGroup
	for i := range d.Relays {
		reading.Go(func() { errs[i] = d.read(ctx, i, query) })
	}
	reading.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var answers []Answer
	for _, l := range d.last {
		if l.known {
			answers = append(answers, Answer{l.answer, l.failed})
		}
	}
	d.Set(Targets(d.Settings, answers...))
	return errors.Join(errs...)
}

// Known reports whether any Relay was read, or none is to be.
func (d *Discovery) Known() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.last) == 0 || slices.ContainsFunc(d.last, func(l lastRead) bool { return l.known })
}

// leftFor is how long an Envoy is asked that has left, as Relay has it.
const leftFor = time.Hour

// remembered is what a Relay says now, with what it knew before it was started anew: the Envoys that it has not seen since, and,
// until it has read everything, what is asked through them.
func remembered(before, now api.ProbeTargets, at time.Time) api.ProbeTargets {
	if now.Reading {
		now.Domains = union(before.Domains, now.Domains, func(d api.ProbeDomain) domainKey { return domainKey{d.App, d.Name, d.Probe} })
		now.Services = union(before.Services, now.Services, func(s api.ProbeService) serviceKey { return serviceKey{"", s.App, s.Port, s.Probe} })
	}
	now.Fleets = slices.Clone(now.Fleets)
	for i := range now.Fleets {
		f := &now.Fleets[i]
		said := make(map[string]bool)
		for _, e := range f.Envoys {
			said[e.ID] = true
		}
		f.Envoys = slices.Clone(f.Envoys)
		for _, old := range before.Fleets {
			for _, e := range old.Envoys {
				if e.Disconnected.IsZero() {
					e.Disconnected = at
				}
				if old.Name == f.Name && !said[e.ID] && at.Sub(e.Disconnected) < leftFor {
					f.Envoys = append(f.Envoys, e)
				}
			}
		}
	}
	return now
}

// union is what was there, and what is new.
func union[T any, K comparable](before, now []T, key func(T) K) []T {
	known := make(map[K]bool, len(before))
	for _, one := range before {
		known[key(one)] = true
	}
	return append(slices.Clone(before), slices.DeleteFunc(slices.Clone(now), func(one T) bool { return known[key(one)] })...)
}

// read reads one Relay.
func (d *Discovery) read(ctx context.Context, i int, query Query) error {
	relay, last := d.Relays[i], &d.last[i]
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	answer, err := relay.Read(reading, query)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		d.up.WithLabelValues(relay.Name).Set(0)
		if !last.failed {
			d.Log.Warn("a Relay cannot be read: what it said last is asked", "event", "probe_relay_lost", "relay", relay.Name, "error", err)
		}
		last.failed = true
		return fmt.Errorf("%s: %w", relay.Name, err)
	}
	if last.failed {
		d.Log.Info("a Relay can be read again", "event", "probe_relay_back", "relay", relay.Name)
	}
	*last = lastRead{answer: remembered(last.answer, answer, time.Now()), known: true}
	d.up.WithLabelValues(relay.Name).Set(1)
	return nil
}
