// Package traffic has what Envoys report of the traffic that they serve.
package traffic

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"relay/internal/failure"
)

// Failure is a request that Envoy answered itself, an answer that ended in the middle, or a TCP
// connection that failed. Its texts are bounded, and have neither query strings nor credentials.
type Failure struct {
	// ID grows with each failure that is kept.
	ID   uint64
	Time time.Time
	// Fleet and Envoy (a node id) are who reported it.
	Fleet, Envoy string
	// App is the id of the app, and Port the index of its port; empty and -1 if the request did
	// not get as far.
	App  string
	Port int
	// Domain is the host that was asked for, without a port and in lower case; Method is "TCP",
	// and Domain, Path and RequestID are empty, for a connection to a TCP service.
	Domain, Method, Path string
	// Status is that of the answer; 0 for TCP.
	Status int
	// Code is the name of a failure.Code, and Reason what Envoy says besides, if anything.
	Code, Reason string
	// Instance is the instance that was tried last; the zero value if none was.
	Instance netip.AddrPort
	// RequestID is what the visitor may quote, and Client the address of who asked.
	RequestID, Client string
	Duration          time.Duration
	BytesIn, BytesOut uint64
	// Count is how many failures this one stands for: those like it in the second after it.
	Count uint64
}

// Cause says in words why it failed, for operators.
func (f Failure) Cause() string {
	code, _ := failure.Of(f.Code)
	cause := strings.ReplaceAll(code.Cause, "`", "") // documents have these around code
	if f.Reason == "" {
		return cause
	}
	return cause + " Envoy says: " + f.Reason + "."
}

const (
	// maxLast is how many failures of an app are kept, maxRecords how many of all apps, and
	// maxOverall how many are kept whatever their app is: once of those for which no client is
	// to blame, once of the others.
	maxLast, maxRecords, maxOverall = 20, 20_000, 1000
	// maxApps is of how many apps failures are counted. Those whose last failure is longest ago
	// go first.
	maxApps = 20_000
	// alike is how long failures of an app with the same code and instance count as one.
	alike = time.Second
	// strangersPerSecond is how many failures of no app are kept each second: clients make up
	// host names. The others are only counted.
	strangersPerSecond = 20
)

// Failures keeps the failures that Envoys report, in a fixed size.
type Failures struct {
	split func(fleet, cluster string) (app string, port int)

	since time.Time

	mu     sync.Mutex
	fleets map[string]*fleetFailures // never changed
	apps   map[string]*appFailures
	recent list.List // the apps, by their last failure
	// records are the failures that some app has, to forget the oldest.
	records ring
	// apart are the last ones: those of apps and fleets, and those for which clients are to blame.
	apart       map[bool]*ring
	strangers   *rate.Limiter
	subscribers map[*subscriber]bool
	lastID      uint64
}

type appFailures struct {
	id     string
	last   []*record // the oldest first
	counts recentCounts
	// crashed are the requests that Envoys answered for it since its tasks fail, by fleet.
	crashed map[string]uint64
	at      *list.Element
}

// record is a failure that is kept.
type record struct {
	Failure
	seen time.Time
}

// ring has the last records, up to a size.
type ring struct {
	all  []*record
	next int
	size int
}

// add adds a record, and returns the one that it replaces, if any.
func (r *ring) add(one *record) (old *record) {
	if len(r.all) < r.size {
		r.all = append(r.all, one)
		return nil
	}
	old, r.all[r.next] = r.all[r.next], one
	r.next = (r.next + 1) % r.size
	return old
}

// newest calls f for each record, the newest first, until f returns false.
func (r *ring) newest(f func(*record) bool) {
	for i := range r.all {
		n := len(r.all)
		if !f(r.all[(r.next-1-i+2*n)%n]) {
			return
		}
	}
}

// NewFailures returns a Failures for fleets. Split finds the app and the index of its port in the
// name of a cluster of a fleet; none, and -1, if the fleet has no such cluster.
func NewFailures(fleets []string, split func(fleet, cluster string) (app string, port int)) *Failures {
	f := &Failures{
		split: split, since: time.Now(), fleets: make(map[string]*fleetFailures), apps: make(map[string]*appFailures),
		records: ring{size: maxRecords}, apart: map[bool]*ring{false: {size: maxOverall}, true: {size: maxOverall}},
		strangers: rate.NewLimiter(strangersPerSecond, strangersPerSecond), subscribers: make(map[*subscriber]bool),
	}
	for _, name := range fleets {
		f.fleets[name] = &fleetFailures{counts: make(map[string]uint64)}
	}
	return f
}

// add adds a failure, which was reported at a moment.
func (f *Failures) add(one Failure, code failure.Code, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fleet := f.fleets[one.Fleet]
	if fleet == nil {
		return
	}
	fleet.add(code, one.Count, now)
	var app *appFailures
	if one.App != "" {
		app = f.app(one.App)
		if code.Problem() {
			app.counts.add(now, one.Count)
		}
		if code.Name == failure.Crashed {
			app.crashed[one.Fleet] += one.Count
		}
	}
	if r := f.like(one, app, !code.Problem(), now); r != nil {
		r.Count += one.Count
		return
	}
	if app == nil && !f.strangers.AllowN(now, 1) {
		return
	}
	f.keep(&record{one, now}, app, !code.Problem())
}

// like returns a failure that was reported just before, if another one counts as the same.
func (f *Failures) like(one Failure, app *appFailures, meant bool, now time.Time) (found *record) {
	if app != nil {
		for _, r := range slices.Backward(app.last) {
			if now.Sub(r.seen) < alike && r.Fleet == one.Fleet && r.Code == one.Code && r.Instance == one.Instance {
				return r
			}
		}
		return nil
	}
	looked := 0
	f.apart[meant].newest(func(r *record) bool {
		if looked++; looked > maxLast || now.Sub(r.seen) >= alike {
			return false
		}
		if r.App == "" && r.Fleet == one.Fleet && r.Code == one.Code && r.Domain == one.Domain {
			found = r
		}
		return found == nil
	})
	return found
}

// keep keeps a failure among the last ones, and tells who follows.
func (f *Failures) keep(r *record, app *appFailures, meant bool) {
	f.lastID++
	r.ID = f.lastID
	if app != nil {
		if app.last = append(app.last, r); len(app.last) > maxLast {
			app.last = slices.Delete(app.last, 0, 1)
		}
		if old := f.records.add(r); old != nil {
			f.forget(old)
		}
	}
	f.apart[meant].add(r)
	for s := range f.subscribers {
		s.tell(r.Failure)
	}
}

// forget removes a failure from those of its app, if it is still there.
func (f *Failures) forget(old *record) {
	if app := f.apps[old.App]; app != nil && len(app.last) > 0 && app.last[0] == old {
		app.last = slices.Delete(app.last, 0, 1)
	}
}

// app returns an app that has a failure now.
func (f *Failures) app(id string) *appFailures {
	if app := f.apps[id]; app != nil {
		f.recent.MoveToFront(app.at)
		return app
	}
	if len(f.apps) >= maxApps {
		longest := f.recent.Remove(f.recent.Back()).(*appFailures)
		delete(f.apps, longest.id)
	}
	app := &appFailures{id: id, crashed: make(map[string]uint64)}
	app.at = f.recent.PushFront(app)
	f.apps[id] = app
	return app
}

// LastFailures returns the last failures of an app, at most limit, the newest first.
func (f *Failures) LastFailures(app string, limit int) (all []Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.apps[app]; a != nil {
		for _, r := range slices.Backward(a.last) {
			if len(all) < limit {
				all = append(all, r.Failure)
			}
		}
	}
	return all
}

// Filter says which failures are asked for; what is empty fits all.
type Filter struct{ Fleet, App, Domain, Code string }

func (w Filter) fits(f Failure) bool {
	return (w.Fleet == "" || w.Fleet == f.Fleet) && (w.App == "" || w.App == f.App) &&
		(w.Domain == "" || w.Domain == f.Domain) && (w.Code == "" || w.Code == f.Code)
}

// All returns the failures that fit a filter, the newest first: of those of an app that it names,
// and of the last ones of all.
func (f *Failures) All(which Filter) []Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*record
	add := func(r *record) bool {
		if which.fits(r.Failure) {
			found = append(found, r)
		}
		return true
	}
	for _, one := range f.apart {
		one.newest(add)
	}
	if app := f.apps[which.App]; app != nil {
		for _, r := range app.last {
			if !slices.Contains(found, r) {
				add(r)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *record) int { return b.Time.Compare(a.Time) })
	all := make([]Failure, len(found))
	for i, r := range found {
		all[i] = r.Failure
	}
	return all
}

// Since returns the failures after an ID that are among the last ones of all, the oldest first.
func (f *Failures) Since(after uint64, limit int) (all []Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.apart {
		one.newest(func(r *record) bool {
			if r.ID > after {
				all = append(all, r.Failure)
			}
			return r.ID > after
		})
	}
	slices.SortFunc(all, func(a, b Failure) int { return cmp.Compare(a.ID, b.ID) })
	return all[:min(len(all), limit)]
}

// LastID is the ID of the last failure that was kept; 0 if there was none.
func (f *Failures) LastID() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastID
}

// OfApp returns how many failures an app had in the last hour, without those for which clients are
// to blame.
func (f *Failures) OfApp(id string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if app := f.apps[id]; app != nil {
		return app.counts.sum(time.Now())
	}
	return 0
}

// Crashed returns how many requests Envoys of a fleet have answered for an app since its tasks fail. It begins at 0 again
// when very many other apps have failed since.
func (f *Failures) Crashed(fleet, app string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.apps[app]; a != nil {
		return a.crashed[fleet]
	}
	return 0
}
