package collator

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/internal/problem"
	"relay/sources"
)

// inbox keeps what sources read until the loop takes it. Nothing queues: what is said
// of an app replaces what was said of it before.
type inbox struct {
	mu      sync.Mutex
	pending notes
	// noted counts the calls of sources, applied those that the loop has dealt with.
	noted, applied uint64
	// progress is closed and replaced each time applied grows.
	progress chan struct{}
	// signal wakes the loop.
	signal chan struct{}
	// certificates has the last read of each source of certificates.
	certificates map[string]certificateRead
	// appsCause is why the next call about apps is made, and certificatesCauses why that about
	// the certificates of a source.
	appsCause          string
	certificatesCauses map[string]string
}

// notes are what sources have said since the loop last looked.
type notes struct {
	// synced is set if all holds a complete read.
	synced bool
	all    []*sources.App
	// apps came after the complete read; nil is one that was removed.
	apps  map[string]*sources.App
	certs map[string]certificateRead // by source
	// tlsSecrets are the secrets that are no certificates.
	tlsSecrets map[tlsSecret]proto.Message
	// authorities are those of clients, by source.
	authorities map[string]authorityRead
	// credentials are those that apps name, by store.
	credentials map[string]credentialRead
	causes      causes
	// tails says what is to be tailed, and what no more.
	tails map[string]bool
	// upTo is what inbox.noted was when the notes were taken.
	upTo uint64
}

// certificateRead is one complete read of a certificate source.
type certificateRead struct {
	certificates []*certs.Certificate
	problems     []problem.Problem
}

func (r certificateRead) equal(other certificateRead) bool {
	return slices.Equal(r.certificates, other.certificates) && slices.Equal(r.problems, other.problems)
}

func newInbox() *inbox {
	return &inbox{progress: make(chan struct{}), signal: make(chan struct{}, 1), certificates: make(map[string]certificateRead), certificatesCauses: make(map[string]string)}
}

// note lets a source write down what it read, and wakes the loop.
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
	n.pending.causes.certificatesRead(source, n.certificatesCauses[source])
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

// take moves what is pending into work, which may still hold what an earlier round did
// not get done.
func (n *inbox) take(work *notes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	work.merge(n.pending)
	work.upTo = n.noted
	n.pending = notes{}
}

// merge adds what was said later.
func (t *notes) merge(later notes) {
	t.causes.merge(later.causes)
	if later.synced {
		t.synced, t.all, t.apps = true, later.all, nil
	}
	t.apps = merged(t.apps, later.apps)
	t.certs = merged(t.certs, later.certs)
	t.tlsSecrets = merged(t.tlsSecrets, later.tlsSecrets)
	t.authorities = merged(t.authorities, later.authorities)
	t.credentials = merged(t.credentials, later.credentials)
	t.tails = merged(t.tails, later.tails)
}

// merged puts later entries into a map, which may be nil.
func merged[K comparable, V any](into, later map[K]V) map[K]V {
	if into == nil {
		return later
	}
	maps.Copy(into, later)
	return into
}

// done notes that the loop has dealt with the first calls.
func (n *inbox) done(upTo uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if upTo > n.applied {
		n.applied = upTo
		close(n.progress)
		n.progress = make(chan struct{})
	}
}

// flush returns when the loop has dealt with all calls so far.
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
	c.inbox.note(func(n *notes) {
		n.synced, n.all, n.apps = true, apps, nil
		n.causes.synced(c.inbox.takeAppsCause())
	})
}

// UpdateApps implements sources.Sink.
func (c *Collator) UpdateApps(set []*sources.App, removed []string) {
	c.inbox.note(func(n *notes) {
		n.causes.updated(c.inbox.takeAppsCause(), set, removed)
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
func (c *Collator) SyncCertificates(source string, certificates []*certs.Certificate, problems []problem.Problem) {
	c.inbox.noteCertificates(source, certificateRead{certificates, problems})
}

// Flush waits until everything that sources said before the call is in the stores of
// the fleets. If the context ends first it returns the context's error. Before the
// first complete read of apps nothing is published, and Flush does not wait for that.
func (c *Collator) Flush(ctx context.Context) error { return c.inbox.flush(ctx) }
