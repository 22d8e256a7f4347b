// Package history keeps what was published of late, and why: which event of a source, what
// differed, which revision of which fleet, and how long until all Envoys had it.
//
// One change is what one fleet was given at one moment. It may be for many apps: each has a
// part of it, with its own cause and its own words. All is kept in memory, in a bounded size.
package history

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"relay/xds"
)

// The sizes. What an app or a client says makes none of them larger.
const (
	// maxChanges is how many changes are kept, and maxOfOne how many of them for one app or
	// certificate: these may be older.
	maxChanges = 10_000
	maxOfOne   = 50
	// maxNamed is how many apps, certificates, Envoys and rejections a change names.
	maxNamed = 20
	// maxTextBytes and maxBodyBytes are what all changes take, about: their words, and the
	// resources before and after. The oldest go first.
	maxTextBytes = 32 << 20
	maxBodyBytes = 32 << 20
	// maxEarly is how many changes may be in all Envoys before they are added.
	maxEarly = 100
)

// Change is what one fleet was given at one moment.
type Change struct {
	// ID grows with each change.
	ID       uint64    `json:"id"`
	Time     time.Time `json:"time"`
	Fleet    string    `json:"fleet"`
	Revision uint64    `json:"revision"`
	// Cause is the event of the source, in words.
	Cause string `json:"cause"`
	// Apps and Certificates are the first of those that it is for; the counts are of all.
	Apps             []string `json:"apps"`
	AppCount         int      `json:"appCount"`
	Certificates     []string `json:"certificates"`
	CertificateCount int      `json:"certificateCount"`
	// What says what differed.
	What []string `json:"what"`
	// Resources counts those of Envoy that were set or removed.
	Resources int `json:"resources"`
	// Envoys is how many had it when the last of them acknowledged it, and Converged the
	// seconds until then; nil while not all have it, and if there was none.
	Envoys    int      `json:"envoys"`
	Converged *float64 `json:"converged,omitempty"`
	// Waiting are the first Envoys that do not have it.
	Waiting []string `json:"waiting,omitempty"`
	// Rejected are the first resources of it that Envoys rejected.
	Rejected []Rejection `json:"rejected,omitempty"`
}

// Rejection says that an Envoy rejected a resource.
type Rejection struct {
	Envoy    string `json:"envoy"`
	Resource string `json:"resource"`
	Error    string `json:"error"`
}

// Publication is a change that was just published.
type Publication struct {
	Fleet     string
	Revision  uint64
	Time      time.Time
	Resources int
	// Cause is that of the change if it is for no app and no certificate.
	Cause              string
	Apps, Certificates []Part
	// Bodies are resources before and after; none if there are too many.
	Bodies []Body
}

// Part is what a change is for one app or certificate.
type Part struct {
	Name, Cause string
	What        []string
	// Gone tells that there is no such app any more.
	Gone bool
}

// Body is a resource before and after a change, marshalled; nil where there is none.
type Body struct {
	xds.Key
	Before, After []byte
	// Apps are those that it is for; empty for all of the change.
	Apps []string
}

// History keeps changes. Its methods may be called at any time.
type History struct {
	// waiting returns which Envoys of a fleet do not have some revisions.
	waiting func(fleet string, revisions []uint64, limit int) map[uint64][]string
	now     func() time.Time

	mu sync.RWMutex
	// nextID is the ID of the next change.
	nextID uint64
	// last are the last changes, the oldest first.
	last []*entry
	// live are all changes that are kept, the oldest first; those that are not are nil or
	// dropped, until they are swept.
	live []*entry
	// The logs, by name.
	apps, certificates map[string]*log
	fleets             map[string]*fleet
	// withBodies are the changes with bodies, the oldest first.
	withBodies           []*entry
	textBytes, bodyBytes int
	series               series
	subscribers          map[*subscriber]struct{}
}

// fleet is what is to be known of a fleet to find its changes.
type fleet struct {
	revision uint64
	// open are the changes that not all Envoys have, by revision.
	open map[uint64]*entry
	// early are changes that all had before they were added.
	early map[uint64]xds.Converged
}

// New returns an empty History. waiting returns the first Envoys of a fleet that do not have
// some revisions yet, as xds.Store.Waiting does.
func New(waiting func(fleet string, revisions []uint64, limit int) map[uint64][]string) *History {
	return &History{
		waiting: waiting, now: time.Now, nextID: 1,
		apps: make(map[string]*log), certificates: make(map[string]*log), fleets: make(map[string]*fleet),
		subscribers: make(map[*subscriber]struct{}),
	}
}

func (h *History) fleet(name string) *fleet {
	f := h.fleets[name]
	if f == nil {
		f = &fleet{open: make(map[uint64]*entry), early: make(map[uint64]xds.Converged)}
		h.fleets[name] = f
	}
	return f
}

// Add adds a change. One that changed no revision is none.
func (h *History) Add(p Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.fleet(p.Fleet)
	if p.Revision <= f.revision {
		return
	}
	f.revision = p.Revision
	e := newEntry(h.nextID, p)
	h.nextID++
	h.last, h.live = append(h.last, e), append(h.live, e)
	h.textBytes += e.size
	for _, part := range p.Apps {
		h.addPart(h.apps, e, part)
	}
	for _, part := range p.Certificates {
		h.addPart(h.certificates, e, part)
	}
	h.addBodies(e, p.Bodies)
	h.series.change(p.Time)
	f.open[p.Revision] = e
	h.publish(e)
	if early, ok := f.early[p.Revision]; ok {
		h.converged(f, e, early)
	}
	clear(f.early)
	if len(h.last) > maxChanges {
		h.leaveLast(h.last[0])
		h.last = h.last[1:]
	}
	h.shrink()
}

// Converged notes that all Envoys of a fleet have a change.
func (h *History) Converged(fleet string, c xds.Converged) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.fleet(fleet)
	if e := f.open[c.Revision]; e != nil {
		h.converged(f, e, c)
	} else if c.Revision > f.revision {
		if len(f.early) >= maxEarly { // of those not added in between, none is awaited any more
			clear(f.early)
		}
		f.early[c.Revision] = c
	}
}

func (h *History) converged(f *fleet, e *entry, c xds.Converged) {
	delete(f.open, c.Revision)
	if e.isOpen = false; c.Envoys == 0 {
		return
	}
	seconds := c.Took.Seconds()
	e.Envoys, e.Converged = c.Envoys, &seconds
	for _, r := range c.Rejected {
		for _, node := range r.Nodes {
			if len(e.Rejected) == maxNamed {
				break
			}
			rejection := Rejection{Envoy: clip(node), Resource: clip(r.Type.String() + " " + r.Name), Error: clip(r.Message)}
			e.Rejected = append(e.Rejected, rejection)
			h.grow(e, len(rejection.Envoy)+len(rejection.Resource)+len(rejection.Error))
		}
	}
	h.series.converged(h.now(), c.Took)
	h.publish(e)
}

// Last returns the last changes before an ID, the newest first; before 0 the newest of all.
func (h *History) Last(limit int, before uint64) []Change {
	h.mu.RLock()
	end := len(h.last)
	if before > 0 {
		end, _ = slices.BinarySearchFunc(h.last, before, func(e *entry, id uint64) int { return cmp.Compare(e.ID, id) })
	}
	var all []Change
	for i := end - 1; i >= 0 && len(all) < limit; i-- {
		all = append(all, h.last[i].change())
	}
	h.mu.RUnlock()
	return h.withWaiting(all)
}

// Since returns the changes after an ID, the oldest first.
func (h *History) Since(after uint64, limit int) []Change {
	h.mu.RLock()
	first, _ := slices.BinarySearchFunc(h.last, after+1, func(e *entry, id uint64) int { return cmp.Compare(e.ID, id) })
	var all []Change
	for _, e := range h.last[first:min(len(h.last), first+max(0, limit))] {
		all = append(all, e.change())
	}
	h.mu.RUnlock()
	return h.withWaiting(all)
}

// Len is how many changes Last has in all.
func (h *History) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.last)
}

// OfApp returns the last changes for an app, the newest first. Their cause and words are those
// for the app.
func (h *History) OfApp(id string) []Change { return h.of(h.apps, id) }

// OfCertificate returns the last changes for a certificate, by certs.Certificate.Name, the newest
// first.
func (h *History) OfCertificate(name string) []Change { return h.of(h.certificates, name) }

func (h *History) of(logs map[string]*log, name string) []Change {
	h.mu.RLock()
	var all []Change
	if l := logs[name]; l != nil {
		for _, p := range slices.Backward(l.parts) {
			c := p.entry.change()
			c.Cause, c.What = p.cause, p.what
			all = append(all, c)
		}
	}
	h.mu.RUnlock()
	return h.withWaiting(all)
}

// LastChanged returns when an app last changed; zero if that is not known.
func (h *History) LastChanged(app string) time.Time {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if l := h.apps[app]; l != nil {
		return l.last
	}
	return time.Time{}
}

// withWaiting says of changes that not all Envoys have which do not.
func (h *History) withWaiting(changes []Change) []Change {
	open := make(map[string][]uint64)
	h.mu.RLock()
	for _, c := range changes {
		if f := h.fleets[c.Fleet]; f != nil && f.open[c.Revision] != nil {
			open[c.Fleet] = append(open[c.Fleet], c.Revision)
		}
	}
	h.mu.RUnlock()
	for fleet, revisions := range open {
		waiting := h.waiting(fleet, revisions, maxNamed)
		for i := range changes {
			if c := &changes[i]; c.Fleet == fleet && c.Converged == nil {
				c.Waiting = waiting[c.Revision]
			}
		}
	}
	return changes
}
