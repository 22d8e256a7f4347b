package marathon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	resolvedFor   = time.Minute
	unresolvedFor = 5 * time.Second
	forgetAfter   = time.Hour
	lookupTimeout = 10 * time.Second
	// failingFor is how long lookups of a name fail, whose address is known, before people
	// are told.
	failingFor = 5 * time.Minute
	maxLookups = 8
)

var errNoAddress = errors.New("it has no address")

// resolver looks up the names of agents in the background. It answers at
// once with what it knows, keeps the last good answer when a lookup fails, and
// tells which apps asked when an answer changes.
type resolver struct {
	lookup     func(ctx context.Context, host string) ([]netip.Addr, error)
	preferIPv6 bool
	changed    func(apps []string)
	// noted is called when there is something new to tell people about a host.
	noted func(host, note string)
	slots chan struct{}

	mu    sync.Mutex
	hosts map[string]*resolvedHost
}

type resolvedHost struct {
	addr    netip.Addr // invalid until the first good answer
	note    string     // what people must know of it, or why there is none; empty if all is well
	told    string     // the last note
	failing time.Time  // since when lookups fail; zero if they do not
	expires time.Time
	used    time.Time
	pending bool
	apps    map[string]bool // who asked since the last lookup started
}

func newResolver(lookup func(context.Context, string) ([]netip.Addr, error), preferIPv6 bool, changed func([]string), noted func(host, note string)) *resolver {
	return &resolver{
		lookup: lookup, preferIPv6: preferIPv6, changed: changed, noted: noted,
		slots: make(chan struct{}, maxLookups), hosts: map[string]*resolvedHost{},
	}
}

// addr returns the address of host, invalid while it is not known, and what there is to
// tell of it. The app is told of when that changes. A lookup that is due is started with
// background, and ends with ctx.
func (r *resolver) addr(ctx context.Context, background func(func()), host, app string) (netip.Addr, string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[host]
	if h == nil {
		h = &resolvedHost{apps: map[string]bool{}}
		r.hosts[host] = h
	}
	h.used = now
	h.apps[app] = true
	if !h.pending && !now.Before(h.expires) {
		h.pending = true
		background(func() { r.refresh(ctx, host) })
	}
	return h.addr, h.note
}

// refresh looks a host up until it has an address. After the answer expires, the next
// call of addr starts it again.
func (r *resolver) refresh(ctx context.Context, host string) {
	for wait := unresolvedFor; ; wait = min(2*wait, resolvedFor) {
		found, err := r.ask(ctx, host)
		apps, note, done := r.update(host, found, err, ctx.Err() != nil)
		if note != "" {
			r.noted(host, note)
		}
		if len(apps) > 0 {
			r.changed(apps)
		}
		if done {
			return
		}
		_ = sleep(ctx, wait) // if ctx has ended, so has the next lookup, and then this loop
	}
}

func (r *resolver) ask(ctx context.Context, host string) ([]netip.Addr, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return r.lookup(ctx, host)
}

// update notes an answer. It returns the apps that it concerns, what there is to tell that
// was not told before, and whether the lookup is over.
func (r *resolver) update(host string, found []netip.Addr, err error, ended bool) (apps []string, note string, done bool) {
	if err == nil && len(found) == 0 {
		err = errNoAddress
	}
	usable, about := usableAddresses(host, found, err)
	best, ok := preferred(usable, r.preferIPv6)
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[host]
	done = ended || ok || h.addr.IsValid() || time.Since(h.used) > forgetAfter
	h.pending = !done
	if ended && !ok {
		return nil, "", done
	}
	if !ok && h.addr.IsValid() {
		about += fmt.Sprintf("; its last address, %s, stays in use", h.addr)
	}
	changes := h.noteAnswer(about, err)
	if changes || h.note != "" && h.told == "" {
		note = h.note
	}
	h.told = h.note
	h.expires = time.Now().Add(unresolvedFor)
	if ok {
		h.expires = time.Now().Add(resolvedFor)
		if !slices.Contains(usable, h.addr) { // of several answers the one in use stays
			h.addr, changes = best, true
		}
	}
	if changes {
		apps = slices.Collect(maps.Keys(h.apps))
		clear(h.apps)
	}
	return apps, note, done
}

// noteAnswer notes what there is to tell after an answer, and returns whether apps have to
// be read again because of that. That is never so for a lookup that failed: the reason may
// be another each time. If there is an address, a failure counts after a while only.
func (h *resolvedHost) noteAnswer(about string, err error) (changes bool) {
	if err == nil {
		changes = about != h.note
		h.note, h.failing = about, time.Time{}
		return changes
	}
	if h.failing.IsZero() {
		h.failing = time.Now()
	}
	if !h.addr.IsValid() || time.Since(h.failing) >= failingFor {
		h.note = about
	}
	return false
}

// asking reports whether there are hosts of which no lookup was answered or failed yet.
func (r *resolver) asking() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hosts {
		if h.pending && h.expires.IsZero() {
			return true
		}
	}
	return false
}

// notes returns what there is to tell of hosts that tasks name, by host.
func (r *resolver) notes() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]string{}
	for host, h := range r.hosts {
		if h.note != "" && time.Since(h.used) <= forgetAfter {
			all[host] = h.note
		}
	}
	return all
}

// sweep forgets hosts that no task has named for a while.
func (r *resolver) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for host, h := range r.hosts {
		if !h.pending && time.Since(h.used) > forgetAfter {
			delete(r.hosts, host)
		}
	}
}
