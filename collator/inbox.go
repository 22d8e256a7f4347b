package collator

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/sources"
)

// inbox is where sources note what they read until the loop takes it. Nothing
// queues: a later word on an app replaces the earlier one.
type inbox struct {
	mu      sync.Mutex
	pending notes
	// noted counts the calls of sources; applied is the count that the loop has
	// dealt with.
	noted, applied uint64
	// progress is closed and replaced each time applied grows.
	progress chan struct{}
	signal   chan struct{}
	// certificates has the last read of each source of certificates.
	certificates map[string]certificateRead
}

// notes is what sources have said since the loop last looked.
type notes struct {
	// synced is set when all holds a complete read; apps are later words.
	synced bool
	all    []*sources.App
	apps   map[string]*sources.App // nil: removed
	certs  map[string]certificateRead
	// tlsSecrets are those that are no certificates.
	tlsSecrets map[tlsSecret]proto.Message
	upTo       uint64
}

// certificateRead is one complete read of a certificate source.
type certificateRead struct {
	certificates []*certs.Certificate
	problems     []certs.Problem
}

func (r certificateRead) equal(other certificateRead) bool {
	return slices.Equal(r.certificates, other.certificates) && slices.Equal(r.problems, other.problems)
}

func newInbox() *inbox {
	return &inbox{progress: make(chan struct{}), signal: make(chan struct{}, 1), certificates: make(map[string]certificateRead)}
}

func (n *inbox) note(write func(*notes)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	write(&n.pending)
	n.wake()
}

// noteCertificates notes a read that differs from the last one of its source: most
// bring nothing new, and stores keep what they have parsed.
func (n *inbox) noteCertificates(source string, read certificateRead) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if before, known := n.certificates[source]; known && before.equal(read) {
		return
	}
	n.certificates[source] = read
	if n.pending.certs == nil {
		n.pending.certs = make(map[string]certificateRead)
	}
	n.pending.certs[source] = read
	n.wake()
}

// wake has the loop take what is pending. The caller holds the lock.
func (n *inbox) wake() {
	n.noted++
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

// take moves what is pending into taken, which may hold what an earlier round
// did not get done.
func (n *inbox) take(taken *notes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken.add(n.pending)
	taken.upTo = n.noted
	n.pending = notes{}
}

func (t *notes) add(later notes) {
	if later.synced {
		t.synced, t.all, t.apps = true, later.all, nil
	}
	t.set(later.apps)
	if t.certs == nil {
		t.certs = later.certs
	} else {
		maps.Copy(t.certs, later.certs)
	}
	if t.tlsSecrets == nil {
		t.tlsSecrets = later.tlsSecrets
	} else {
		maps.Copy(t.tlsSecrets, later.tlsSecrets)
	}
}

func (t *notes) set(apps map[string]*sources.App) {
	if t.apps == nil {
		t.apps = apps
		return
	}
	maps.Copy(t.apps, apps)
}

func (n *inbox) done(upTo uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if upTo > n.applied {
		n.applied = upTo
		close(n.progress)
		n.progress = make(chan struct{})
	}
}

func (n *inbox) flush(ctx context.Context) error {
	n.mu.Lock()
	target := n.noted
	n.mu.Unlock()
	for {
		n.mu.Lock()
		reached, progress := n.applied >= target, n.progress
		n.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// SyncApps implements sources.Sink.
func (c *Collator) SyncApps(apps []*sources.App) {
	c.inbox.note(func(n *notes) { n.synced, n.all, n.apps = true, apps, nil })
}

// UpdateApps implements sources.Sink.
func (c *Collator) UpdateApps(set []*sources.App, removed []string) {
	c.inbox.note(func(n *notes) {
		if n.apps == nil {
			n.apps = make(map[string]*sources.App, len(set)+len(removed))
		}
		for _, id := range removed {
			n.apps[id] = nil
		}
		for _, app := range set {
			if app != nil {
				n.apps[app.ID] = app
			}
		}
	})
}

// SyncCertificates implements certs.Sink.
func (c *Collator) SyncCertificates(source string, certificates []*certs.Certificate, problems []certs.Problem) {
	c.inbox.noteCertificates(source, certificateRead{certificates, problems})
}

// Flush returns when everything that sources said before the call is in the
// stores of the fleets, or the context's error when it ends first. Before apps
// have synced nothing is published, and what was said counts as dealt with.
func (c *Collator) Flush(ctx context.Context) error { return c.inbox.flush(ctx) }
