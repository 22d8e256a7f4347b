package marathon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

var (
	errNoEvent     = errors.New("no event came after the subscription: this Marathon does not lead, or is not ready")
	errStreamEnded = errors.New("the event stream ended")
)

// life is one connection to Marathon, from the subscription to its end. Its
// fields belong to the goroutine of Serve. Other goroutines do the I/O and hand
// back what is left to do as a function.
type life struct {
	w       *Watcher
	ctx     context.Context
	cancel  context.CancelCauseFunc
	target  target // of the event stream
	reads   target // of everything else: the leader, if it may be asked
	started time.Time
	wg      sync.WaitGroup
	todo    chan func() error // run on the goroutine of Serve; an error ends the life

	attached bool // an event was received
	synced   bool // a full read was applied

	// Single reads.
	inFlight map[string]bool
	again    map[string]markKind // marked while in flight
	looks    map[string]*time.Timer
	failures map[string]int // failed reads of an app in a row

	// Full reads.
	full         *fullRead         // in flight, or nil
	removed      map[string]uint64 // apps removed while it is: the number of the read that told
	fullFailures int
	nextFull     *time.Timer
	suspicion    *suspicion
	paceUntil    time.Time // for reads that events ask for
	holdUntil    time.Time // for reads that many marks ask for
}

func newLife(ctx context.Context, w *Watcher, t target) *life {
	l := &life{
		w: w, target: t, reads: t, started: time.Now(), todo: make(chan func() error),
		inFlight: map[string]bool{}, again: map[string]markKind{}, looks: map[string]*time.Timer{},
		failures: map[string]int{}, removed: map[string]uint64{},
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.nextFull = time.AfterFunc(w.cfg.SyncInterval, w.marks.addFull)
	l.nextFull.Stop()
	return l
}

// run subscribes and works until something ends the life.
func (l *life) run() error {
	w := l.w
	attach := time.AfterFunc(w.cfg.AttachTimeout, func() { l.cancel(errNoEvent) })
	defer attach.Stop()
	w.setConnected(false, l.target.base.String())
	body, t, leader, err := w.client.events(l.ctx, l.target)
	if err != nil {
		return err
	}
	l.target, l.reads = t, t
	w.setConnected(false, l.target.base.String())
	l.spawn(func() func() error {
		defer body.Close()
		err := l.readEvents(newEventReader(body, w.cfg.MaxEventBytes), func() {
			attach.Stop()
			l.spawn(func() func() error {
				reads := w.client.leader(l.ctx, t, leader)
				return func() error {
					l.reads = reads
					return l.attach()
				}
			})
		})
		return func() error { return err }
	})
	for {
		l.startReads()
		select {
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		case do := <-l.todo:
			if err := do(); err != nil {
				return err
			}
		case <-w.marks.wake:
		}
	}
}

// end leaves nothing of the life behind but what the Watcher needs for the next one.
func (l *life) end(ctx context.Context, err error) {
	w := l.w
	l.cancel(nil)
	l.wg.Wait()
	l.nextFull.Stop()
	for _, t := range l.looks {
		t.Stop()
	}
	w.client.http.CloseIdleConnections()
	if l.full != nil {
		w.reloads.PutBack(l.full.reload)
	}
	w.setConnected(false, l.target.base.String())
	if ctx.Err() != nil {
		w.attempts.wait = 0
		return
	}
	w.noteError(err)
	w.attempts.ended(err, time.Since(l.started), l.synced)
	w.log.Warn("watching Marathon ended, what is known stays in use",
		"url", l.target.base.String(), "error", err, "retry_in", w.attempts.wait.Round(time.Millisecond))
}

// spawn runs f on another goroutine and what it returns on that of Serve.
// A panic of f is a panic of Serve, where the supervisor sees it.
func (l *life) spawn(f func() func() error) {
	l.wg.Go(func() {
		do := caught(f)
		select {
		case l.todo <- do:
		case <-l.ctx.Done():
		}
	})
}

func caught(f func() func() error) (do func() error) {
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			do = func() error { panic(fmt.Sprintf("%v\n%s", v, stack)) }
		}
	}()
	return f()
}

// readEvents marks what events name until the stream ends. It calls attached
// at the first event.
func (l *life) readEvents(events *eventReader, attached func()) error {
	w := l.w
	deployments := deployments{}
	first := true
	for {
		m, err := events.next()
		if errors.Is(err, io.EOF) {
			err = errStreamEnded
		}
		if err != nil {
			return fmt.Errorf("events: %w", err)
		}
		w.noteEvent()
		if first {
			first = false
			attached()
		}
		c, err := parseEvent(m, w.cfg.Pods)
		w.metrics.event(c.kind)
		if w.cfg.OnEvent != nil {
			w.cfg.OnEvent(c.kind)
		}
		if err != nil {
			w.log.Warn("an event of Marathon could not be used, everything is read again", "error", err)
			w.marks.addFullPaced()
			continue
		}
		apps, full := deployments.apply(c)
		w.marks.add(changed, apps...)
		if full {
			w.marks.addFullPaced()
		}
	}
}

// attach starts the first full read: from here on no change can be missed.
func (l *life) attach() error {
	l.attached = true
	l.w.marks.addFull()
	return nil
}

// deployments remembers which apps the running deployments name. A deployment is
// announced before its definitions can be read; the event that they can be
// names a group only.
type deployments map[string][]string

const maxDeployments = 1000

// apply returns the apps to read for an event, and whether all have to be.
func (d deployments) apply(c change) (apps []string, full bool) {
	apps, full = c.apps, c.full
	switch {
	case c.group != "":
		for _, ids := range d {
			for _, id := range ids {
				if c.group == "/" || strings.HasPrefix(id, c.group+"/") {
					apps = append(apps, id)
				}
			}
		}
		full = true
	case c.ended:
		if known, ok := d[c.deployment]; ok {
			apps, full = append(apps, known...), false
			delete(d, c.deployment)
		}
	case c.deployment != "" && len(c.apps) > 0:
		if len(d) >= maxDeployments {
			clear(d)
		}
		d[c.deployment] = c.apps
	}
	return apps, full
}
