package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Config says how the state of one source is kept.
type Config struct {
	// What is kept, such as "apps", and Source, such as "marathon", are for
	// people to read.
	What, Source string
	// Label tells the keeper's metrics from those of others of the source; empty for Source.
	Label string
	File  File
	// Grace is how long after the start the source may take before its saved
	// state stands in.
	Grace time.Duration
	// Interval is the least time between two saves.
	Interval time.Duration
}

// Content is what a sink that keeps state knows about it. Snapshot and StandIn
// are called under the lock that Sync and Update hold, the others under none.
type Content[T any] struct {
	// Snapshot returns the state; it is not modified afterwards.
	Snapshot func() T
	Encode   func(T) ([]byte, error)
	// Decode refuses what must not be served.
	Decode func([]byte) (T, error)
	// StandIn hands a saved state on, as if the source had synced.
	StandIn func(T)
}

// Keeper saves the state of one source, and lets the saved state stand in for
// a source that has not synced in time. The two are never mixed: the first
// sync replaces the saved state, and one that comes in time leaves it unread.
type Keeper[T any] struct {
	cfg     Config
	content Content[T]
	log     *slog.Logger
	dirty   chan struct{}
	start   time.Time

	// decided is set once it is known whether the saved state stands in. It
	// belongs to Serve.
	decided bool

	mu sync.Mutex
	// synced is set with the first sync; standsIn is the time of the saved
	// state that is served instead, until then.
	synced     bool
	standsIn   time.Time
	savedAt    time.Time
	unsaved    bool
	failedLoad string
	failedSave string
}

// New returns a Keeper that does nothing before Serve. The grace begins now.
func New[T any](cfg Config, content Content[T], log *slog.Logger, registerer prometheus.Registerer) *Keeper[T] {
	k := &Keeper[T]{
		cfg: cfg, content: content, log: log.With("source", cfg.Source), dirty: make(chan struct{}, 1), start: time.Now(),
	}
	factory, labels := promauto.With(registerer), prometheus.Labels{"source": cmp.Or(cfg.Label, cfg.Source)}
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_state_age_seconds", ConstLabels: labels,
		Help: "Age of the saved state that is served because the source cannot be read; 0 while none is.",
	}, k.age)
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_state_saved_timestamp_seconds", ConstLabels: labels,
		Help: "When the state of the source was last saved by this process, in Unix time; 0 if never.",
	}, k.saved)
	return k
}

// Sync runs deliver, which hands a complete read to the next sink. It ends the
// time in which the saved state stands in. What has not changed since the last
// sync is not saved again.
func (k *Keeper[T]) Sync(changed bool, deliver func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.standsIn.IsZero() {
		k.log.Info("the source was read: its saved state is not served any more", "event", "state_superseded", "what", k.cfg.What, "saved", stamp(k.standsIn))
	}
	k.unsaved = k.unsaved || changed || !k.synced
	k.synced, k.standsIn, k.failedLoad = true, time.Time{}, ""
	deliver()
	k.note()
}

// Update runs deliver, which hands a part of the state to the next sink. Before
// the first sync it does nothing: the sync will have it, and the saved state
// must not be mixed with it.
func (k *Keeper[T]) Update(deliver func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.synced {
		return
	}
	k.unsaved = true
	deliver()
	k.note()
}

func (k *Keeper[T]) note() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// Serve saves, and stands in after the grace, until the context ends; then it
// saves a last time. It may be called again.
func (k *Keeper[T]) Serve(ctx context.Context) error {
	grace := time.NewTimer(time.Until(k.start.Add(k.cfg.Grace)))
	defer grace.Stop()
	k.note() // what an earlier life did not get done
	for {
		select {
		case <-ctx.Done():
			k.save()
			return ctx.Err()
		case <-grace.C:
			k.standIn()
			continue
		case <-k.dirty:
		}
		if k.save() && !k.pause(ctx, grace.C) {
			k.save()
			return ctx.Err()
		}
	}
}

// pause waits for the interval between two saves; false means the context ended.
func (k *Keeper[T]) pause(ctx context.Context, grace <-chan time.Time) bool {
	interval := time.NewTimer(k.cfg.Interval)
	defer interval.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-grace:
			k.standIn()
		case <-interval.C:
			return true
		}
	}
}

// save reports whether it tried to: there was something new.
func (k *Keeper[T]) save() bool {
	k.mu.Lock()
	if !k.unsaved {
		k.mu.Unlock()
		return false
	}
	k.unsaved = false
	snapshot, at := k.content.Snapshot(), time.Now()
	k.mu.Unlock()

	body, err := k.content.Encode(snapshot)
	if err == nil {
		err = k.cfg.File.Save(at, body)
	}
	k.mu.Lock()
	before := k.failedSave
	if k.failedSave = ""; err != nil {
		k.failedSave, k.unsaved = err.Error(), true
	} else {
		k.savedAt = at
	}
	k.mu.Unlock()
	if err != nil {
		k.note() // tried again after the interval
		if before != err.Error() {
			k.log.Error("the state is not saved: a restarted Relay would serve an older one", "event", "state_unsaved", "what", k.cfg.What, "error", err)
		}
	}
	return true
}

// standIn serves the saved state if the source has not synced.
func (k *Keeper[T]) standIn() {
	if k.decided || k.hasSynced() {
		k.decided = true
		return
	}
	k.decided = true
	body, at, err := k.cfg.File.Load()
	if errors.Is(err, fs.ErrNotExist) {
		k.log.Warn("the source was not read in time, and no state of it was saved", "event", "state_missing", "what", k.cfg.What, "grace", k.cfg.Grace)
		return
	}
	var content T
	if err == nil {
		if content, err = k.content.Decode(body); err != nil {
			err = fmt.Errorf("the saved state in %s is not used: %w", k.cfg.File.Path, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.synced:
	case err != nil:
		k.failedLoad = err.Error()
		k.log.Error("the source was not read in time, and its saved state cannot be served", "event", "state_unusable", "what", k.cfg.What, "error", err)
	default:
		k.standsIn = at
		k.content.StandIn(content)
		k.log.Warn("the source was not read in time: serving its saved state", "event", "state_served", "what", k.cfg.What, "saved", stamp(at))
	}
}

func (k *Keeper[T]) hasSynced() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.synced
}

// Status is what people are shown.
type Status struct {
	// What is kept and of which source.
	What, Source string
	// StandsIn is when the state was saved that is served instead of the
	// source; zero when none is.
	StandsIn time.Time
	// Problems say why saved state is not served, or not saved.
	Problems []string
}

// Status may be called at any time.
func (k *Keeper[T]) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{What: k.cfg.What, Source: k.cfg.Source, StandsIn: k.standsIn}
	for _, p := range []string{k.failedLoad, k.failedSave} {
		if p != "" {
			s.Problems = append(s.Problems, p)
		}
	}
	return s
}

func (k *Keeper[T]) age() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.standsIn.IsZero() {
		return 0
	}
	// A clock that was put back must not make it look fresh.
	return max(time.Since(k.standsIn).Seconds(), 1)
}

func (k *Keeper[T]) saved() float64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.savedAt.IsZero() {
		return 0
	}
	return float64(k.savedAt.UnixMilli()) / 1000
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
