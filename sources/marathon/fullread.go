package marathon

import (
	"slices"
	"strings"
	"time"

	"relay/internal/coalesce"
	"relay/sources"
)

const (
	maxFullFailures = 3 // in a row, before another connection is tried
	// Between full reads that events ask for there is this time at least, and this many
	// times what the last one took.
	fullReadPause       = time.Second
	fullReadPauseFactor = 20
)

// fullRead is a read of all apps.
type fullRead struct {
	number  uint64
	started time.Time
	apps    map[string]mapped // by id
	covered map[string]cause  // the pending reads of single apps that it makes needless, by id
	why     string            // in words
	reload  *coalesce.Run     // ended when it is applied
}

// unconfirmedRead is a full read that is not believed until another one agrees.
type unconfirmedRead struct {
	at time.Time
	doubts
}

// doubts are why a full read is not believed.
type doubts struct {
	// empty tells that it has no app at all.
	empty bool
	// lost are the ids of apps that would vanish or go back to an older version.
	lost map[string]bool
}

func (d doubts) any() bool { return d.empty || len(d.lost) > 0 }

// within reports whether all of d are among the others.
func (d doubts) within(others doubts) bool {
	for id := range d.lost {
		if !others.lost[id] {
			return false
		}
	}
	return others.empty || !d.empty
}

// startFull starts a full read. It covers the reads that are pending. What is added
// later is read at the same time.
func (c *connection) startFull() {
	w := c.w
	c.nextFull.Stop()
	c.cancelDelayedFull()
	f := &fullRead{number: w.nextRead(), started: time.Now(), apps: map[string]mapped{}}
	f.covered, f.why = w.pending.takeAll()
	f.reload = w.reloads.Begin() // after takeAll: Reload asks first, then adds a full read
	c.full = f
	clear(c.removed)
	for id := range f.covered {
		c.cancelDelayed(id)
	}
	w.metrics.reads.WithLabelValues(kindFull).Inc()
	from := c.reads
	inBackground(c, func() error { return c.readAll(from, f) }, func(err error) error { return c.finishFull(f, err) })
}

// readAll reads all apps, and pods if they are routed, into f.
func (c *connection) readAll(from target, f *fullRead) error {
	var raw func(app []byte)
	if c.w.cfg.OnFullRead != nil {
		raw = c.w.cfg.OnFullRead()
	}
	err := c.w.client.apps(c.ctx, from, raw, func(answer decoded) error {
		id, ok := cleanID(answer.app.ID)
		if !ok {
			c.w.log.Warn("an app of Marathon has no usable id and is ignored", "id", clip(answer.app.ID))
			return nil
		}
		answer.app.ID = id
		f.apps[id] = c.mapOne(answer)
		return nil
	})
	if err == nil && c.w.cfg.Pods {
		err = c.readPods(from, f)
	}
	return err
}

// finishFull applies a full read, or decides when there is another one. An error ends
// the connection.
func (c *connection) finishFull(f *fullRead, err error) error {
	w := c.w
	c.full = nil
	took := time.Since(f.started)
	c.eventsAfter = time.Now().Add(max(fullReadPause, fullReadPauseFactor*took))
	if err != nil {
		return c.fullFailed(f, err)
	}
	c.fullFailures = 0
	if wait := c.confirmIn(f); wait > 0 {
		c.putBack(f)
		c.retryFull(wait)
		return nil
	}
	c.apply(f)
	c.nextFull.Reset(spread(w.cfg.SyncInterval))
	w.resolver.sweep()
	w.metrics.fullSyncs.Inc()
	w.metrics.lastSync.SetToCurrentTime()
	w.mu.Lock()
	w.state.lastSync = time.Now()
	w.mu.Unlock()
	f.reload.End(nil)
	if !c.synced {
		c.synced = true
		w.setConnected(true, c.target.base.String())
		w.log.Info("synced with Marathon", "url", c.target.base.String(), "apps", w.appCount(), "took", took.Round(time.Millisecond))
	}
	return nil
}

// fullFailed keeps what is known. The first full read of a connection has to succeed,
// later ones may fail a few times.
func (c *connection) fullFailed(f *fullRead, err error) error {
	w := c.w
	c.putBack(f)
	w.metrics.readFailures.WithLabelValues(kindFull).Inc()
	if c.ctx.Err() == nil && c.leaveLeader(err) {
		w.pending.addFull(f.why)
		return nil
	}
	c.fullFailures++
	if !c.synced || c.fullFailures >= maxFullFailures {
		return err
	}
	wait := jitter(exponential(w.cfg.BackoffMin, w.cfg.BackoffMax, c.fullFailures))
	w.noteError(err)
	w.log.Warn("the full read failed, what is known stays in use", "error", err, "retry_in", wait.Round(time.Millisecond))
	c.retryFull(wait)
	return nil
}

// retryFull has everything read again after a while. That many apps are pending starts
// no full read before.
func (c *connection) retryFull(wait time.Duration) {
	c.manyAfter = time.Now().Add(wait)
	c.nextFull.Reset(wait)
}

// putBack makes pending again what a full read covered that was not applied.
func (c *connection) putBack(f *fullRead) {
	for id, why := range f.covered {
		c.w.pending.add(why, id)
	}
	c.w.reloads.PutBack(f.reload)
}

// confirmIn returns in what time another full read has to confirm this one, or 0 when
// it is to be applied. A master that was just elected, or whose access rules changed,
// may show an empty list, fewer than half of the apps, or older versions. So these have
// to be shown twice.
func (c *connection) confirmIn(f *fullRead) time.Duration {
	w := c.w
	doubts := w.doubt(f)
	if !doubts.any() {
		c.unconfirmed = nil
		return 0
	}
	if prior := c.unconfirmed; prior != nil && doubts.within(prior.doubts) {
		if wait := w.cfg.ConfirmDelay - f.started.Sub(prior.at); wait > 0 {
			return wait
		}
		c.unconfirmed = nil
		return 0
	}
	w.metrics.heldBack.Inc()
	w.log.Warn("a full read lacks many apps or is older than what is known, and has to be confirmed",
		"apps", len(f.apps), "known", w.appCount(), "doubted", len(doubts.lost), "again_in", w.cfg.ConfirmDelay)
	c.unconfirmed = &unconfirmedRead{at: time.Now(), doubts: doubts}
	return w.cfg.ConfirmDelay
}

// doubt compares a full read with what is known.
func (w *Watcher) doubt(f *fullRead) doubts {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := doubts{empty: len(f.apps) == 0 && (len(w.apps) > 0 || !w.synced), lost: map[string]bool{}}
	shrunk := 2*len(f.apps) < len(w.apps)
	for id, known := range w.apps {
		m, ok := f.apps[id]
		switch {
		case known.read > f.number: // a single read that started later told of it
		case !ok:
			if shrunk {
				d.lost[id] = true
			}
		case m.app != nil && m.pod == known.pod && older(m.app.Version, known.app.Version):
			d.lost[id] = true
		}
	}
	return d
}

// apply makes what a full read says known, except where a single read that started
// later told something else, and tells the sink if that changes anything.
func (c *connection) apply(f *fullRead) {
	w := c.w
	differs := map[string]bool{}
	next := make(map[string]*knownApp, len(f.apps))
	for id, m := range f.apps {
		old := w.known(id)
		switch {
		case old != nil && (old.read > f.number || m.app == nil):
			next[id] = old
		case c.removed[id] > f.number, m.app == nil:
		default:
			next[id], differs[id] = w.merge(old, m, f.number)
		}
	}
	anything := !c.synced
	w.mu.Lock()
	for id, old := range w.apps {
		if next[id] == nil && old.read > f.number {
			next[id] = old
		}
		differs[id] = differs[id] || next[id] == nil
	}
	for _, d := range differs {
		anything = anything || d
	}
	w.apps, w.synced = next, true
	w.mu.Unlock()
	w.lastFull = f.number
	w.metrics.apps.Set(float64(len(next)))
	clear(c.removed)
	if anything {
		apps := make([]*sources.App, 0, len(next))
		for _, h := range next {
			apps = append(apps, h.app)
		}
		slices.SortFunc(apps, func(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) })
		sources.Because(w.sink, marathonSays+"all apps were read: "+f.why)
		w.sink.SyncApps(apps)
	}
	for id := range c.failures {
		if _, ok := f.apps[id]; !ok { // Marathon leaves it out of the list: these credentials may not read it
			delete(c.failures, id)
			c.cancelDelayed(id)
		}
	}
	for id, h := range next {
		c.askVersions(id, h)
	}
	for id, why := range f.covered {
		c.recheck(id, why, differs[id], f.apps[id])
	}
	for id, m := range f.apps {
		c.recheck(id, cause{words: f.why}, differs[id], m)
	}
}
