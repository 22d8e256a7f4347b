package marathon

import (
	"errors"
	"maps"
	"net/netip"
	"time"

	"relay/internal/problem"
	"relay/sources"
)

// startReads starts the reads that are pending and may start now. Single reads wait
// until the connection has made its first full read. If too many apps are pending, one
// full read takes the place of the single ones.
func (c *connection) startReads() {
	if !c.attached {
		return
	}
	w := c.w
	tooMany := func() bool {
		return w.pending.len() > max(w.cfg.FullReadThreshold, w.appCount()/20)
	}
	if c.full == nil && c.synced && w.pending.takeFullSoon() {
		c.startFullSoon()
	}
	if c.full == nil && (w.pending.wantsFull() || (c.synced && tooMany() && !time.Now().Before(c.manyAfter))) {
		c.startFull()
	}
	if !c.synced || tooMany() {
		return
	}
	for len(c.inFlight) < w.cfg.MaxReads {
		id, why, ok := w.pending.take()
		if !ok {
			return
		}
		if c.inFlight[id] {
			c.again[id] = c.again[id].or(why)
			continue
		}
		c.startRead(id, why)
	}
}

// startFullSoon asks for the full read that an event made needed, now or a little later.
// It may wait: events nearly always name the apps concerned, which are then read by
// themselves. So full reads take a small part of the time, however many events come.
func (c *connection) startFullSoon() {
	wait := time.Until(c.eventsAfter)
	if wait <= 0 {
		c.w.pending.addFull("")
		return
	}
	c.cancelDelayedFull()
	c.delayedFull = time.AfterFunc(wait, func() { c.w.pending.addFullSoon("") })
}

func (c *connection) cancelDelayedFull() {
	if c.delayedFull != nil {
		c.delayedFull.Stop()
		c.delayedFull = nil
	}
}

// delay has an app read after d, unless such a read waits already.
func (c *connection) delay(id string, d time.Duration, why cause) {
	if c.delayed[id] == nil {
		c.delayed[id] = time.AfterFunc(d, func() { c.w.pending.add(why, id) })
	}
}

// cancelDelayed forgets the read that delay has made for later.
func (c *connection) cancelDelayed(id string) {
	if t := c.delayed[id]; t != nil {
		t.Stop()
		delete(c.delayed, id)
	}
}

// answer is what a read of one app gave.
type answer struct {
	mapped
	found bool // Marathon has such an app
	err   error
}

func (c *connection) startRead(id string, why cause) {
	w := c.w
	c.inFlight[id] = true
	c.cancelDelayed(id)
	number := w.nextRead()
	w.metrics.reads.WithLabelValues(kindApp).Inc()
	from := c.reads
	inBackground(c, func() answer {
		m, found, err := c.readOne(from, id)
		return answer{m, found, err}
	}, func(a answer) error {
		c.finishRead(id, why, number, a)
		return nil
	})
}

// mapOne maps an app with what is known of it. If an app that is known has a field of an
// unexpected type, the answer is not used: the result has no app then.
func (c *connection) mapOne(answer decoded) mapped {
	return c.mapKnown(answer.app.ID, answer.mismatch, func(prior history, m mapping) mapped {
		m.single = answer.single
		return convertApp(&answer.app, prior, m)
	})
}

// mapKnown calls do with what is known of the app or pod.
func (c *connection) mapKnown(id, mismatch string, do func(history, mapping) mapped) mapped {
	w := c.w
	old := w.known(id)
	if mismatch == "" || old == nil {
		w.told.isOver("shape of " + clip(id))
	}
	if mismatch != "" && old != nil {
		if !w.told.isNew("shape of "+clip(id), clip(mismatch)) {
			return mapped{}
		}
		w.log.Warn("an app of Marathon has an unexpected shape, what is known of it stays in use", "event", "app_malformed",
			"app", clip(id), "field", clip(mismatch))
		return mapped{}
	}
	var prior history
	var versions []*appDefinition
	if old != nil {
		prior, versions = old.history, old.versions
	}
	m := do(prior, mapping{
		firstSync: w.isFirstSync(), now: time.Now(),
		addressing: w.addressing(c, id), unreachable: w.cfg.Unreachable, versions: versions, failure: old.knownFailure(), traefik: w.cfg.Traefik,
	})
	if old != nil { // of equal values one is kept
		if m.app.Equal(old.app) {
			m.app = old.app
		}
		if maps.Equal(m.history, old.history) {
			m.history = old.history
		}
	}
	if mismatch != "" {
		m.app.Problems = append(m.app.Problems, problem.Problem{
			Subject: clip(mismatch), Reason: "is not what Marathon documents and is ignored",
		})
	}
	return m
}

// finishRead applies the answer to a single read of that number.
func (c *connection) finishRead(id string, why cause, number uint64, a answer) {
	w, m := c.w, a.mapped
	delete(c.inFlight, id)
	if more, ok := c.again[id]; ok {
		delete(c.again, id)
		w.pending.add(more, id)
	}
	if a.err != nil {
		c.readFailed(id, why, a.err)
		return
	}
	delete(c.failures, id)
	w.told.isOver("read of " + id)
	old := w.known(id)
	differs := false
	switch {
	case number < w.lastFull:
		return // a full read that started later was applied: it knows better, also of apps that are gone
	case !a.found:
		if differs = old != nil; differs {
			w.setKnown(id, nil)
			w.log.Info("app removed", "event", "app_removed", "app", id)
			sources.Because(w.sink, marathonSays+why.words)
			w.sink.UpdateApps(nil, []string{id})
		}
		if c.full != nil {
			c.removed[id] = number
		}
	case m.app == nil:
		return
	case old != nil && old.pod == m.pod && older(m.app.Version, old.app.Version):
		w.log.Warn("an app's version went back, everything is read again", "event", "app_version_back", "app", id, "version", m.app.Version, "held", old.app.Version)
		w.pending.addFullSoon("the version of " + id + " went back")
		return
	default:
		h, changed := w.merge(old, m, number)
		w.setKnown(id, h)
		c.askVersions(id, h)
		if differs = changed; differs {
			sources.Because(w.sink, marathonSays+why.words)
			w.sink.UpdateApps([]*sources.App{h.app}, nil)
		}
	}
	c.recheck(id, why, differs, m)
}

// recheck has an app read once more a little later where that may tell more: an event
// named the app and the answer shows no change yet, or a deployment has ended that it still shows, a task has no address yet, or
// something is awaited that no event tells.
func (c *connection) recheck(id string, why cause, differs bool, m mapped) {
	wait := m.recheck
	deploys := why.ended && m.app != nil && m.app.Orchestration != nil && m.app.Orchestration.Deploying
	if (why.isChange && (!differs || deploys)) || (m.waiting && differs) {
		wait = c.w.cfg.RereadDelay
		if m.recheck > 0 {
			wait = min(wait, m.recheck)
		}
	}
	if wait > 0 {
		c.delay(id, wait, why.again())
	}
}

// readFailed keeps what is known of the app, and has it read again later.
func (c *connection) readFailed(id string, why cause, err error) {
	w := c.w
	if c.ctx.Err() != nil {
		return
	}
	w.metrics.readFailures.WithLabelValues(kindApp).Inc()
	if _, answered := errors.AsType[*statusError](err); !answered {
		c.leaveLeader(err)
	}
	w.noteError(err)
	wait := jitter(exponential(w.cfg.BackoffMin, w.cfg.BackoffMax, c.failures[id]))
	c.failures[id]++
	message := "an app could not be read"
	if w.known(id) != nil {
		message += ", what is known of it stays in use"
	}
	if w.told.isNew("read of "+id, err.Error()) {
		w.log.Warn(message, "event", "app_unreadable", "app", id, "error", err, "retry_in", wait.Round(time.Millisecond))
	}
	c.delay(id, wait, cause{isChange: true, words: why.again().words})
}

func (w *Watcher) addressing(c *connection, app string) addressing {
	return addressing{
		container: w.cfg.ContainerAddress, networks: w.cfg.ContainerNetworks, preferIPv6: w.cfg.PreferIPv6,
		resolve: func(host string) (netip.Addr, string) {
			background := func(f func()) {
				inBackground(c, func() struct{} { f(); return struct{}{} }, func(struct{}) error { return nil })
			}
			return w.resolver.addr(c.ctx, background, host, app)
		},
	}
}
