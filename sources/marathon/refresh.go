package marathon

import (
	"errors"
	"maps"
	"time"

	"relay/sources"
)

// startReads starts what is due and may be started. Single reads wait for the
// first full read of the life; when too many apps are marked a full read
// takes their place.
func (l *life) startReads() {
	if !l.attached {
		return
	}
	w := l.w
	tooMany := func() bool {
		return w.marks.len() > max(w.cfg.FullReadThreshold, w.known()/20)
	}
	if l.full == nil && l.synced && w.marks.takePaced() {
		l.paceFull()
	}
	if l.full == nil && (w.marks.wantsFull() || (l.synced && tooMany() && !time.Now().Before(l.holdUntil))) {
		l.startFull()
	}
	if !l.synced || tooMany() {
		return
	}
	for len(l.inFlight) < w.cfg.MaxReads {
		id, kind, ok := w.marks.next()
		if !ok {
			return
		}
		if l.inFlight[id] {
			l.again[id] = max(l.again[id], kind)
			continue
		}
		l.startRead(id, kind)
	}
}

// paceFull makes the full reads that events ask for take a small part of the
// time: the apps concerned are nearly always named, and read, by themselves.
func (l *life) paceFull() {
	if wait := time.Until(l.paceUntil); wait > 0 {
		l.unlook("")
		l.look("", wait, l.w.marks.addFullPaced)
		return
	}
	l.w.marks.addFull()
}

// look calls f after d, unless a call for the same id is waiting already.
func (l *life) look(id string, d time.Duration, f func()) {
	if l.looks[id] != nil {
		return
	}
	l.looks[id] = time.AfterFunc(d, f)
}

// unlook forgets the call that waits for id.
func (l *life) unlook(id string) {
	if t := l.looks[id]; t != nil {
		t.Stop()
		delete(l.looks, id)
	}
}

func (l *life) startRead(id string, kind markKind) {
	w := l.w
	l.inFlight[id] = true
	l.unlook(id)
	number := w.nextRead()
	w.metrics.reads.WithLabelValues(kindApp).Inc()
	from := l.reads
	l.spawn(func() func() error {
		m, found, err := l.readOne(from, id)
		return func() error {
			l.finishRead(id, kind, number, m, found, err)
			return nil
		}
	})
}

// mapOne maps an app with what is known of it. Of an app that is known, an
// answer with a field of an unexpected type is not believed; the result has no app then.
func (l *life) mapOne(answer decoded) mapped {
	return l.mapKnown(answer.app.ID, answer.mismatch, func(prior history, m mapping) mapped { return convertApp(&answer.app, prior, m) })
}

// mapKnown does the mapping of mapOne with what is known.
func (l *life) mapKnown(id, mismatch string, do func(history, mapping) mapped) mapped {
	w := l.w
	old := w.get(id)
	if mismatch != "" && old != nil {
		w.log.Warn("an app of Marathon has an unexpected shape, what is known of it stays in use",
			"app", clip(id), "field", clip(mismatch))
		return mapped{}
	}
	var prior history
	if old != nil {
		prior = old.history
	}
	m := do(prior, mapping{
		firstSync: w.isFirstSync(), now: time.Now(),
		addressing: w.addressing(l, id), unreachable: w.cfg.Unreachable,
	})
	if old != nil { // what says the same is kept once
		if m.app.Equal(old.app) {
			m.app = old.app
		}
		if maps.Equal(m.history, old.history) {
			m.history = old.history
		}
	}
	if mismatch != "" {
		m.app.Problems = append(m.app.Problems, sources.Problem{
			Subject: clip(mismatch), Reason: "is not what Marathon documents and is ignored",
		})
	}
	return m
}

// finishRead applies the answer to a single read.
func (l *life) finishRead(id string, kind markKind, number uint64, m mapped, found bool, err error) {
	w := l.w
	delete(l.inFlight, id)
	if more, ok := l.again[id]; ok {
		delete(l.again, id)
		w.marks.add(more, id)
	}
	if err != nil {
		l.readFailed(id, err)
		return
	}
	delete(l.failures, id)
	old := w.get(id)
	differs := false
	switch {
	case number < w.lastFull:
		return // a full read that started later was applied: it knows better, also of apps that are gone
	case !found:
		if differs = old != nil; differs {
			w.set(id, nil)
			w.log.Info("app removed", "app", id)
			w.sink.UpdateApps(nil, []string{id})
		}
		if l.full != nil {
			l.removed[id] = number
		}
	case m.app == nil:
		return
	case old != nil && old.pod == m.pod && older(m.app.Version, old.app.Version):
		w.log.Warn("an app's version went back, everything is read again", "app", id, "version", m.app.Version, "held", old.app.Version)
		w.marks.addFullPaced()
		return
	default:
		h, changed := w.merge(old, m, number)
		w.set(id, h)
		if differs = changed; differs {
			w.sink.UpdateApps([]*sources.App{h.app}, nil)
		}
	}
	l.lookAgain(id, kind == changed, differs, m)
}

// lookAgain has an app read once more a little later when an event said that
// it changed and the answer did not show it yet, when an address is missing,
// or when something is awaited that no event tells.
func (l *life) lookAgain(id string, marked, differs bool, m mapped) {
	wait := m.recheck
	if (marked && !differs) || (m.waiting && differs) {
		wait = l.w.cfg.RereadDelay
		if m.recheck > 0 {
			wait = min(wait, m.recheck)
		}
	}
	if wait > 0 {
		l.look(id, wait, func() { l.w.marks.add(repeated, id) })
	}
}

func (l *life) readFailed(id string, err error) {
	w := l.w
	if l.ctx.Err() != nil {
		return
	}
	w.metrics.readFailures.WithLabelValues(kindApp).Inc()
	if _, answered := errors.AsType[*statusError](err); !answered {
		l.leaveLeader(err)
	}
	w.noteError(err)
	wait := jitter(exponential(w.cfg.BackoffMin, w.cfg.BackoffMax, l.failures[id]))
	l.failures[id]++
	w.log.Warn("an app could not be read, what is known of it stays in use", "app", id, "error", err, "retry_in", wait.Round(time.Millisecond))
	l.look(id, wait, func() { w.marks.add(changed, id) })
}

// merge returns what is to be held after an answer, and whether it says
// anything new. An unchanged app stays the same value.
func (w *Watcher) merge(old *held, m mapped, number uint64) (*held, bool) {
	h := &held{app: m.app, history: m.history, read: number, pod: m.pod}
	strange, example := 0, ""
	for task, r := range m.history {
		if r.strange && (old == nil || !old.history[task].strange) {
			strange++
			example = max(example, task)
		}
	}
	if strange > 0 {
		w.log.Warn("tasks are in a state that is not known and get no requests", "app", m.app.ID, "tasks", strange, "one", clip(example))
	}
	if old != nil && old.app.Equal(m.app) {
		h.app = old.app
		return h, false
	}
	var known []sources.Problem
	if old != nil {
		known = old.app.Problems
	}
	w.logProblems(m.app, known)
	return h, true
}
