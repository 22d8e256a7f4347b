package marathon

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"relay/internal/coalesce"
	"relay/sources"
)

const (
	maxFullFailures = 3           // in a row, before another connection is tried
	minPace         = time.Second // least time between full reads that events ask for
	paceFactor      = 20          // and in multiples of what the last one took
)

// fullRead is a read of all apps.
type fullRead struct {
	number  uint64
	started time.Time
	apps    map[string]mapped
	covered map[string]markKind // marks that the read answers
	reload  *coalesce.Run       // ended when it is applied
}

// suspicion is a full read that was not believed.
type suspicion struct {
	at time.Time
	// lost are the ids that would vanish or go back to an older version; the
	// empty string stands for a list that is empty altogether.
	lost map[string]bool
}

// startFull reads everything. Marks that wait are covered by it; those that
// come later are read again, in parallel.
func (l *life) startFull() {
	w := l.w
	l.nextFull.Stop()
	l.unlook("")
	f := &fullRead{number: w.nextRead(), started: time.Now(), covered: w.marks.all(), apps: map[string]mapped{}}
	f.reload = w.reloads.Begin() // after the marks were taken: Reload marks once it has asked
	l.full = f
	clear(l.removed)
	for id := range f.covered {
		l.unlook(id)
	}
	w.metrics.reads.WithLabelValues(kindFull).Inc()
	from := l.reads
	l.spawn(func() func() error {
		err := w.client.apps(l.ctx, from, func(answer decoded) error {
			id, ok := cleanID(answer.app.ID)
			if !ok {
				w.log.Warn("an app of Marathon has no usable id and is ignored", "id", clip(answer.app.ID))
				return nil
			}
			answer.app.ID = id
			f.apps[id] = l.mapOne(answer)
			return nil
		})
		if err == nil && w.cfg.Pods {
			err = l.readPods(from, f)
		}
		return func() error { return l.finishFull(f, err) }
	})
}

func (l *life) finishFull(f *fullRead, err error) error {
	w := l.w
	l.full = nil
	took := time.Since(f.started)
	l.paceUntil = time.Now().Add(max(minPace, paceFactor*took))
	if err != nil {
		return l.fullFailed(f, err)
	}
	l.fullFailures = 0
	if wait := l.doubt(f); wait > 0 {
		l.putBack(f)
		l.retryFull(wait)
		return nil
	}
	l.apply(f)
	l.nextFull.Reset(spread(w.cfg.SyncInterval))
	w.resolver.sweep()
	w.metrics.fullSyncs.Inc()
	w.metrics.lastSync.SetToCurrentTime()
	w.mu.Lock()
	w.status.LastSync = time.Now()
	w.mu.Unlock()
	f.reload.End(nil)
	if !l.synced {
		l.synced = true
		w.setConnected(true, l.target.base.String())
		w.log.Info("synced with Marathon", "url", l.target.base.String(), "apps", w.known(), "took", took.Round(time.Millisecond))
	}
	return nil
}

// fullFailed keeps everything. The first full read of a life has to succeed, a
// later one may fail a few times.
func (l *life) fullFailed(f *fullRead, err error) error {
	w := l.w
	l.putBack(f)
	w.metrics.readFailures.WithLabelValues(kindFull).Inc()
	if l.ctx.Err() == nil && l.leaveLeader(err) {
		w.marks.addFull()
		return nil
	}
	l.fullFailures++
	if !l.synced || l.fullFailures >= maxFullFailures {
		return err
	}
	wait := jitter(exponential(w.cfg.BackoffMin, w.cfg.BackoffMax, l.fullFailures))
	w.noteError(err)
	w.log.Warn("the full read failed, what is known stays in use", "error", err, "retry_in", wait.Round(time.Millisecond))
	l.retryFull(wait)
	return nil
}

// retryFull has everything read again after a while, and not before because
// many apps are marked.
func (l *life) retryFull(wait time.Duration) {
	l.holdUntil = time.Now().Add(wait)
	l.nextFull.Reset(wait)
}

// putBack returns what a full read that was not applied should have settled.
func (l *life) putBack(f *fullRead) {
	for id, kind := range f.covered {
		l.w.marks.add(kind, id)
	}
	l.w.reloads.PutBack(f.reload)
}

// doubt tells how long to wait for a second read that has to agree, or 0 when
// the read is to be applied. An empty list, one that lacks more than half of
// the apps, and older versions than those held are what a master shows that
// was just elected, or whose access rules changed.
func (l *life) doubt(f *fullRead) time.Duration {
	w := l.w
	lost := w.lost(f)
	if len(lost) == 0 {
		l.suspicion = nil
		return 0
	}
	prior := l.suspicion
	agrees := prior != nil
	for id := range lost {
		agrees = agrees && prior.lost[id]
	}
	if agrees {
		if wait := w.cfg.ConfirmDelay - f.started.Sub(prior.at); wait > 0 {
			return wait
		}
		l.suspicion = nil
		return 0
	}
	w.metrics.heldBack.Inc()
	w.log.Warn("a full read lacks many apps or is older than what is known, and has to be confirmed",
		"apps", len(f.apps), "known", w.known(), "doubted", len(lost), "again_in", w.cfg.ConfirmDelay)
	l.suspicion = &suspicion{at: time.Now(), lost: lost}
	return w.cfg.ConfirmDelay
}

// lost returns what makes a full read suspicious.
func (w *Watcher) lost(f *fullRead) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := map[string]bool{}
	if len(f.apps) == 0 && (len(w.held) > 0 || !w.synced) {
		lost[""] = true
	}
	shrunk := 2*len(f.apps) < len(w.held)
	for id, h := range w.held {
		m, ok := f.apps[id]
		switch {
		case h.read > f.number:
		case !ok:
			if shrunk {
				lost[id] = true
			}
		case m.app != nil && m.pod == h.pod && older(m.app.Version, h.app.Version):
			lost[id] = true
		}
	}
	return lost
}

// apply makes a full read the truth, but for what a later single read told.
func (l *life) apply(f *fullRead) {
	w := l.w
	differs := map[string]bool{}
	next := make(map[string]*held, len(f.apps))
	for id, m := range f.apps {
		old := w.get(id)
		switch {
		case old != nil && (old.read > f.number || m.app == nil):
			next[id] = old
		case l.removed[id] > f.number, m.app == nil:
		default:
			next[id], differs[id] = w.merge(old, m, f.number)
		}
	}
	anything := !l.synced
	w.mu.Lock()
	for id, old := range w.held {
		if next[id] == nil && old.read > f.number {
			next[id] = old
		}
		differs[id] = differs[id] || next[id] == nil
	}
	for _, d := range differs {
		anything = anything || d
	}
	w.held, w.synced = next, true
	w.mu.Unlock()
	w.lastFull = f.number
	w.metrics.apps.Set(float64(len(next)))
	clear(l.removed)
	if anything {
		apps := make([]*sources.App, 0, len(next))
		for _, h := range next {
			apps = append(apps, h.app)
		}
		slices.SortFunc(apps, func(a, b *sources.App) int { return strings.Compare(a.ID, b.ID) })
		w.sink.SyncApps(apps)
	}
	for id := range l.failures {
		if _, ok := f.apps[id]; !ok { // not ours to read: Marathon leaves it out of the list
			delete(l.failures, id)
			l.unlook(id)
		}
	}
	for id, kind := range f.covered {
		l.lookAgain(id, kind == changed, differs[id], f.apps[id])
	}
	for id, m := range f.apps {
		l.lookAgain(id, false, differs[id], m)
	}
}

func (w *Watcher) known() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held)
}

func (w *Watcher) isFirstSync() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.synced
}

func (w *Watcher) addressing(l *life, app string) addressing {
	return addressing{
		container: w.cfg.ContainerAddress, networks: w.cfg.ContainerNetworks, preferIPv6: w.cfg.PreferIPv6,
		resolve: func(host string) (netip.Addr, bool) {
			background := func(f func()) {
				l.spawn(func() func() error { f(); return func() error { return nil } })
			}
			return w.resolver.addr(l.ctx, background, host, app)
		},
	}
}

// logProblems reports the problems of an app that were not there before.
func (w *Watcher) logProblems(app *sources.App, known []sources.Problem) {
	for _, p := range app.Problems {
		if !slices.Contains(known, p) {
			w.log.Warn("a part of an app is ignored", "app", clip(app.ID), "subject", p.Subject, "reason", p.Reason)
		}
	}
}
