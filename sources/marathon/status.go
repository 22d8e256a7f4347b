package marathon

import (
	"time"

	"relay/sources"
)

// Kind is what this source is called on the status page and in the name of its saved state.
const Kind = "marathon"

// state is what a Watcher remembers for its Status, as it happened.
type state struct {
	url       string    // the server in use or last tried, after redirects
	connected bool      // events are received, and a full read was applied since
	since     time.Time // when connected last changed
	lastSync  time.Time // when a full read was last applied
	lastEvent time.Time // when the last event was received
	// lastError is the last failure, and lastErrorAt its time; a success does not clear them.
	lastError   string
	lastErrorAt time.Time
}

// Status implements sources.Source.
func (w *Watcher) Status() sources.Status {
	asking := w.resolver.asking() // before the problems: what is answered by then is among them
	problems := w.agentProblems()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.state
	s := sources.Status{Kind: Kind, Name: now.url, Connected: now.connected, LastSync: now.lastSync, Apps: len(w.apps), Problems: problems, Asking: asking}
	if !now.connected && !now.lastSync.IsZero() {
		s.NotFollowedSince = now.since
	}
	if !now.connected || now.lastErrorAt.After(now.lastSync) {
		s.LastError = now.lastError
	}
	return s
}

// setConnected notes a change of the connection for Status and metrics.
func (w *Watcher) setConnected(connected bool, url string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state.connected != connected || w.state.since.IsZero() {
		w.state.since = time.Now()
	}
	w.state.connected, w.state.url = connected, url
	value := 0.0
	if connected {
		value = 1
	}
	w.metrics.connected.Set(value)
}

func (w *Watcher) noteError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.lastError, w.state.lastErrorAt = err.Error(), time.Now()
}

func (w *Watcher) noteEvent() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.lastEvent = time.Now()
}
