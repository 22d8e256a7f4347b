package marathon

import (
	"context"
	"errors"
	"sync"
	"time"

	"relay/internal/panics"
)

var errNoEvent = errors.New("no event came after the subscription: this Marathon does not lead, or is not ready, or a proxy on the way holds the event stream back")

// connection is one connection to Marathon, from the subscription to its end.
// Its fields belong to the goroutine of Serve. Other goroutines wait for
// Marathon's answers: see inBackground.
type connection struct {
	w       *Watcher
	ctx     context.Context
	cancel  context.CancelCauseFunc
	target  target // of the event stream
	reads   target // of everything else: the leader, if it may be asked
	started time.Time
	wg      sync.WaitGroup
	todo    chan func() error // called on the goroutine of Serve; an error ends the connection

	attached bool // an event was received
	synced   bool // a full read was applied

	// Reads of single apps, by app id.
	inFlight map[string]bool
	again    map[string]cause       // to be read again, since they were named while a read was in flight
	delayed  map[string]*time.Timer // to be read a little later
	failures map[string]int         // failed reads in a row

	versions versionReads // reads of older versions of apps

	// Full reads.
	full         *fullRead         // in flight, or nil
	removed      map[string]uint64 // apps removed while it is in flight: the number of the read that said so
	fullFailures int               // in a row
	nextFull     *time.Timer       // for the next periodic full read, or for another try
	delayedFull  *time.Timer       // for a full read that events ask for; nil if none waits
	unconfirmed  *unconfirmedRead  // the last full read, if it was not believed
	eventsAfter  time.Time         // no full read that events ask for starts before
	manyAfter    time.Time         // no full read because many apps are pending starts before
}

func newConnection(ctx context.Context, w *Watcher, t target) *connection {
	c := &connection{
		w: w, target: t, reads: t, started: time.Now(), todo: make(chan func() error),
		inFlight: map[string]bool{}, again: map[string]cause{}, delayed: map[string]*time.Timer{},
		failures: map[string]int{}, removed: map[string]uint64{},
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.nextFull = time.AfterFunc(w.cfg.SyncInterval, func() { w.pending.addFull("once in a while") })
	c.nextFull.Stop()
	return c
}

// run subscribes and works until something ends the connection.
func (c *connection) run() error {
	w := c.w
	attach := time.AfterFunc(w.cfg.AttachTimeout, func() { c.cancel(errNoEvent) })
	defer attach.Stop()
	w.setConnected(false, c.target.base.String())
	answered := make(chan error, 1) // nil if Marathon sends events, else why it does not
	c.followEvents(answered, attach)
	if err := <-answered; err != nil {
		return err
	}
	w.setConnected(false, c.target.base.String())
	for {
		c.startReads()
		c.startVersionReads()
		select {
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		case do := <-c.todo:
			if err := do(); err != nil {
				return err
			}
		case <-w.pending.wake:
		}
	}
}

// end leaves nothing of the connection behind but what the Watcher needs for the next one.
func (c *connection) end(ctx context.Context, err error) {
	w := c.w
	c.cancel(nil)
	c.wg.Wait()
	c.nextFull.Stop()
	c.cancelDelayedFull()
	c.versions.stop()
	for _, t := range c.delayed {
		t.Stop()
	}
	w.client.http.CloseIdleConnections()
	if c.full != nil {
		w.reloads.PutBack(c.full.reload)
	}
	w.setConnected(false, c.target.base.String())
	if ctx.Err() != nil {
		w.attempts.wait = 0
		return
	}
	w.noteError(err)
	w.attempts.ended(err, time.Since(c.started), c.synced)
	message := "watching Marathon ended, what is known stays in use"
	if w.Status().LastSync.IsZero() {
		message = "Marathon cannot be read"
	}
	w.log.Warn(message, "event", "marathon_lost",
		"url", c.target.base.String(), "error", err, "retry_in", w.attempts.wait.Round(time.Millisecond))
}

// inBackground calls work on another goroutine, and then with its result on the
// goroutine of Serve, unless the connection has ended meanwhile. An error of then
// ends the connection. A panic of work is one of Serve, where the supervisor sees it.
func inBackground[T any](c *connection, work func() T, then func(T) error) {
	c.wg.Go(func() {
		var result T
		bug := panics.Catch(func() error { result = work(); return nil })
		do := func() error {
			if bug != nil {
				return bug
			}
			return then(result)
		}
		select {
		case c.todo <- do:
		case <-c.ctx.Done():
		}
	})
}

// followEvents subscribes, and notes what events name until the stream ends, which
// ends the connection. It sends nil to answered when Marathon has answered, or why
// the subscription failed.
func (c *connection) followEvents(answered chan<- error, attach *time.Timer) {
	deployments := deployments{}
	first := true
	var from target
	var leader string
	opened := func(t target, named string) {
		from, leader = t, named
		c.target, c.reads = t, t // the goroutine of Serve waits for answered
		answered <- nil
	}
	each := func(m message) {
		c.w.noteEvent()
		if first {
			first = false
			attach.Stop()
			c.findLeader(from, leader)
		}
		c.w.takeEvent(m, deployments)
	}
	inBackground(c, func() error {
		err := panics.Catch(func() error {
			return c.w.client.events(c.ctx, c.target, c.w.cfg.MaxEventBytes, opened, each)
		})
		select {
		case answered <- err:
		default: // it was answered before
		}
		return err
	}, func(err error) error { return err })
}

// findLeader finds out whom to read from, and then has everything read: from here
// on no change can be missed.
func (c *connection) findLeader(from target, leader string) {
	inBackground(c, func() target { return c.w.client.leader(c.ctx, from, leader) }, func(reads target) error {
		c.reads, c.attached = reads, true
		c.w.pending.addFull("connected to Marathon")
		return nil
	})
}

// takeEvent notes what has to be read because of an event.
func (w *Watcher) takeEvent(m message, deployments deployments) {
	event, err := parseEvent(m, w.cfg.Pods)
	w.metrics.event(event.eventType)
	if w.cfg.OnEvent != nil {
		w.cfg.OnEvent(event.eventType)
	}
	if err != nil {
		w.log.Warn("an event of Marathon could not be used, everything is read again", "event", "marathon_event_unusable", "error", err)
		w.pending.addFullSoon("an event that could not be used")
		return
	}
	words := event.words()
	apps, full := deployments.apply(event)
	w.pending.add(cause{isChange: true, ofTask: event.task != "", ended: event.ended, words: words}, apps...)
	if full {
		w.pending.addFullSoon(words)
	}
}
