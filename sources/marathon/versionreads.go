package marathon

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxVersionReads is how many versions are read at a time, and versionPause the time
	// between the starts of two such reads: they must not hold up what is newer.
	maxVersionReads = 2
	versionPause    = 10 * time.Millisecond
	// maxVersionWait bounds the wait before another try.
	maxVersionWait = 5 * time.Minute
	// maxDefinition bounds the bytes of a version: Marathon's store takes far shorter ones.
	maxDefinition = 16 << 20
)

// versionKey names a version of an app.
type versionKey struct{ app, version string }

// versionRead is a version that is to be read, or read again since that failed.
type versionRead struct {
	versionKey
	due      time.Time
	failures int
}

// versionReads holds the older versions of apps that are to be read because tasks are judged
// by them. It belongs to the goroutine of Serve.
type versionReads struct {
	all      map[versionKey]*versionRead
	queue    versionQueue
	inFlight int
	next     time.Time   // no read starts before
	failures int         // in a row, of any version
	timer    *time.Timer // wakes Serve when the next read may start
}

// versionQueue is a heap: what is due first comes first.
type versionQueue []*versionRead

func (q versionQueue) Len() int           { return len(q) }
func (q versionQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q versionQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *versionQueue) Push(x any) { *q = append(*q, x.(*versionRead)) }

// Pop implements heap.Interface.
func (q *versionQueue) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return r
}

// askVersions has the versions of an app read that its tasks are judged by and that are not
// known. A version is read once, however often it is asked for.
func (c *connection) askVersions(id string, h *knownApp) {
	v := &c.versions
	for _, version := range h.asked {
		key := versionKey{id, version}
		if v.all[key] != nil {
			continue
		}
		if v.all == nil {
			v.all = map[versionKey]*versionRead{}
		}
		r := &versionRead{versionKey: key, due: time.Now()}
		v.all[key] = r
		heap.Push(&v.queue, r)
	}
}

// startVersionReads starts the reads that are due, a few at a time. They never delay
// another read, and nothing waits for them.
func (c *connection) startVersionReads() {
	v := &c.versions
	for c.synced && v.inFlight < maxVersionReads && len(v.queue) > 0 {
		now, first := time.Now(), v.queue[0]
		if h := c.w.known(first.app); h == nil || !h.asks(first.version) {
			heap.Pop(&v.queue) // the app or the tasks are gone, or another version told
			delete(v.all, first.versionKey)
			continue
		}
		if wait := max(first.due.Sub(now), v.next.Sub(now)); wait > 0 {
			v.wakeIn(wait, c.w.pending.signal)
			return
		}
		heap.Pop(&v.queue)
		v.inFlight++
		v.next = now.Add(versionPause)
		c.w.metrics.reads.WithLabelValues(kindVersion).Inc()
		from := c.reads
		inBackground(c, func() versionAnswer {
			d, err := c.w.client.version(c.ctx, from, first.app, first.version)
			return versionAnswer{d, err}
		}, func(a versionAnswer) error {
			c.finishVersion(first, a)
			return nil
		})
	}
}

func (v *versionReads) wakeIn(wait time.Duration, wake func()) {
	if v.timer == nil {
		v.timer = time.AfterFunc(wait, wake)
		return
	}
	v.timer.Reset(wait)
}

func (v *versionReads) stop() {
	if v.timer != nil {
		v.timer.Stop()
	}
}

// versionAnswer is what a read of a version gave.
type versionAnswer struct {
	of  *appDefinition
	err error
}

// finishVersion notes a version, and has the app read again, whose tasks can be judged by it
// then. A read that failed is tried again after a pause that grows. If several fail in a row,
// all the others wait too: Marathon has other things to do.
func (c *connection) finishVersion(r *versionRead, a versionAnswer) {
	w, v := c.w, &c.versions
	v.inFlight--
	if a.err != nil {
		w.metrics.readFailures.WithLabelValues(kindVersion).Inc()
		if _, broken := errors.AsType[*net.OpError](a.err); broken { // else the leader answered, if slowly or with something odd
			c.leaveLeader(a.err)
		}
		now := time.Now()
		wait := jitter(exponential(max(w.cfg.BackoffMin, versionPause), maxVersionWait, r.failures))
		if next := now.Add(jitter(exponential(versionPause, w.cfg.BackoffMax, v.failures))); next.After(v.next) {
			v.next = next // never sooner than after one that did not fail
		}
		v.failures++
		r.failures++
		r.due = now.Add(wait)
		heap.Push(&v.queue, r)
		if w.told.isNew("versions of "+r.app, a.err.Error()) {
			w.log.Warn("an older version of an app could not be read, its tasks serve unless a health check fails", "event", "app_version_unreadable",
				"app", r.app, "version", r.version, "error", a.err, "retry_in", wait.Round(time.Millisecond))
		}
		return
	}
	v.failures = 0
	w.told.isOver("versions of " + r.app)
	delete(v.all, r.versionKey)
	h := w.known(r.app)
	if h == nil || !h.asks(r.version) {
		return
	}
	if a.of.missing {
		w.log.Info("Marathon no longer has a version of an app, its tasks serve unless a health check fails", "event", "app_version_gone", "app", r.app, "version", r.version)
	}
	w.setKnown(r.app, h.withVersion(a.of))
	w.pending.add(cause{words: "the definition of an older version was read"}, r.app)
}

// version reads the definition of one version of an app. If Marathon does not have it, which
// is no error, the definition is missing.
func (c *client) version(ctx context.Context, t target, id, version string) (*appDefinition, error) {
	failed := func(err error) (*appDefinition, error) {
		return nil, fmt.Errorf("read version %s of app %s: %w", version, id, err)
	}
	at, ok := parseTime(version)
	if !ok {
		return failed(errors.New("it is not a time"))
	}
	missing := &appDefinition{version: version, since: at, until: at, missing: true}
	resp, _, err := c.open(ctx, t, "/v2/apps"+id+"/versions/"+version, nil, http.Header{"Accept": {"application/json"}})
	if isMissing(err) {
		return missing, nil
	}
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close()
	body := &io.LimitedReader{R: resp.Body, N: maxDefinition}
	answer, err := decodeDefinition(body)
	if body.N <= 0 {
		err = fmt.Errorf("the answer has %d bytes or more", maxDefinition)
	}
	if err != nil {
		return failed(err)
	}
	a := &answer.app
	if a.ID != id {
		return failed(fmt.Errorf("the answer is about %s", clip(a.ID)))
	}
	if answer.mismatch != "" {
		return failed(fmt.Errorf("%s, which is not what Marathon documents", clip(answer.mismatch)))
	}
	mode := modeOf(a)
	declared, _ := declarations(a, mode)
	d := definitionOf(a, mode, declared)
	if !d.covers(at) {
		return failed(fmt.Errorf("the answer is the version of %s", clip(a.Version)))
	}
	return d, nil
}

// asks reports whether the definition of a version is still to be read.
func (h *knownApp) asks(version string) bool {
	at, ok := parseTime(version)
	if !ok || find(h.versions, at) != nil {
		return false
	}
	for _, asked := range h.asked {
		if asked == version {
			return true
		}
	}
	return false
}

// withVersion returns a copy of what is known, with one more definition.
func (h *knownApp) withVersion(d *appDefinition) *knownApp {
	next := *h
	next.versions = append(h.versions[:len(h.versions):len(h.versions)], d)
	return &next
}

// rememberVersions sets the definitions that are known after a read: the newest, and of
// those before the ones that tasks still have.
func (h *knownApp) rememberVersions(old *knownApp, m mapped) {
	h.asked = m.asked
	if m.newest == nil {
		return
	}
	var before []*appDefinition
	if old != nil {
		before = old.versions
	}
	if len(before) == 1 && len(m.older) == 0 && before[0].equal(m.newest) {
		h.versions = before
		return
	}
	h.versions = []*appDefinition{m.newest}
	for _, at := range m.older {
		if find(h.versions, at) == nil {
			if d := find(before, at); d != nil {
				h.versions = append(h.versions, d)
			}
		}
	}
}
