package marathon

import (
	"context"
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
	maxLookups    = 8
)

// resolver looks up the names of agents in the background. It answers at
// once with what it knows, keeps the last good answer when a lookup fails, and
// tells which apps asked when an answer changes.
type resolver struct {
	lookup     func(ctx context.Context, host string) ([]netip.Addr, error)
	preferIPv6 bool
	changed    func(apps []string)
	slots      chan struct{}

	mu    sync.Mutex
	hosts map[string]*resolvedHost
}

type resolvedHost struct {
	addr    netip.Addr // invalid until the first good answer
	expires time.Time
	used    time.Time
	pending bool
	apps    map[string]bool // who asked since the last lookup started
}

func newResolver(lookup func(context.Context, string) ([]netip.Addr, error), preferIPv6 bool, changed func([]string)) *resolver {
	return &resolver{
		lookup: lookup, preferIPv6: preferIPv6, changed: changed,
		slots: make(chan struct{}, maxLookups), hosts: map[string]*resolvedHost{},
	}
}

// addr returns the address of host, or false while it is not known. The app is told of
// when the address changes. A lookup that is due is started with background, and ends
// with ctx.
func (r *resolver) addr(ctx context.Context, background func(func()), host, app string) (netip.Addr, bool) {
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
	return h.addr, h.addr.IsValid()
}

// refresh looks a host up until it has an address. After the answer expires, the next
// call of addr starts it again.
func (r *resolver) refresh(ctx context.Context, host string) {
	for wait := unresolvedFor; ; wait = min(2*wait, resolvedFor) {
		found, err := r.ask(ctx, host)
		apps, done := r.update(host, found, err, ctx.Err() != nil)
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

// update notes an answer. It returns the apps that it concerns, and whether
// the lookup is over.
func (r *resolver) update(host string, found []netip.Addr, err error, ended bool) (apps []string, done bool) {
	var usable []netip.Addr
	for _, a := range found {
		if ip, ok := parseIP(a.WithZone("").String()); ok {
			usable = append(usable, ip)
		}
	}
	slices.SortFunc(usable, netip.Addr.Compare)
	best, ok := preferred(usable, r.preferIPv6)
	ok = ok && err == nil
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[host]
	done = ended || ok || h.addr.IsValid() || time.Since(h.used) > forgetAfter
	h.pending = !done
	if !ok {
		if !ended {
			h.expires = time.Now().Add(unresolvedFor)
		}
		return nil, done
	}
	h.expires = time.Now().Add(resolvedFor)
	if slices.Contains(usable, h.addr) {
		return nil, done // of several answers the one in use stays
	}
	h.addr = best
	for id := range h.apps {
		apps = append(apps, id)
	}
	clear(h.apps)
	return apps, done
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
