package marathon

import (
	"cmp"
	"strings"
	"sync"
)

// pendingReads holds what has to be read again. Adding never blocks, so that the
// event stream is always read without delay. What is added twice is read once.
type pendingReads struct {
	mu       sync.Mutex
	causes   map[string]cause // of the apps, by id
	order    []string         // ids of the apps in the order in which they are read
	full     bool             // a full read is asked for
	fullSoon bool             // a full read is asked for that may wait a little
	fullWhy  string           // why a full read is asked for; the first reason counts
	wake     chan struct{}    // of one element: something was added
}

// cause is why an app is to be read.
type cause struct {
	// isChange tells that an event names the app, or that the address of one of its agents has
	// changed. Else something is awaited that no event tells, or did not show in the last read.
	isChange bool
	// ofTask tells that it is about a task: that says more than that a deployment goes on.
	ofTask bool
	// ended tells that a deployment has ended.
	ended bool
	// words say it to people.
	words string
}

// or returns what counts of two causes: the later one, unless the first alone is a change, or about
// a task.
func (c cause) or(later cause) cause {
	isChange, ended := c.isChange || later.isChange, c.ended || later.ended
	if c.isChange && !later.isChange || c.isChange == later.isChange && c.ofTask && !later.ofTask || later.words == "" {
		later = c
	}
	later.isChange, later.ended = isChange, ended
	return later
}

const readAgain = "read again after "

// again is the cause of a read that follows one.
func (c cause) again() cause {
	c.isChange, c.ended = false, false
	if !strings.HasPrefix(c.words, readAgain) {
		c.words = readAgain + c.words
	}
	return c
}

func newPendingReads() *pendingReads {
	return &pendingReads{causes: map[string]cause{}, wake: make(chan struct{}, 1)}
}

// add asks for a read of each app.
func (p *pendingReads) add(why cause, ids ...string) {
	if len(ids) == 0 {
		return
	}
	p.mu.Lock()
	for _, id := range ids {
		old, known := p.causes[id]
		if !known {
			p.order = append(p.order, id)
		}
		p.causes[id] = old.or(why)
	}
	p.mu.Unlock()
	p.signal()
}

// addFull asks for a full read.
func (p *pendingReads) addFull(why string) {
	p.mu.Lock()
	p.full = true
	p.fullWhy = cmp.Or(p.fullWhy, why)
	p.mu.Unlock()
	p.signal()
}

// addFullSoon asks for a full read that may wait a little.
func (p *pendingReads) addFullSoon(why string) {
	p.mu.Lock()
	p.fullSoon = true
	p.fullWhy = cmp.Or(p.fullWhy, why)
	p.mu.Unlock()
	p.signal()
}

func (p *pendingReads) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// len returns the number of apps to read.
func (p *pendingReads) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}

// take takes the app that has waited longest; ok is false if there is none.
func (p *pendingReads) take() (id string, why cause, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return "", cause{}, false
	}
	id = p.order[0]
	p.order = p.order[1:]
	why = p.causes[id]
	delete(p.causes, id)
	return id, why, true
}

// takeAll takes everything, since a full read that starts now covers it. It returns
// the causes of the apps, by id, and why there is a full read.
func (p *pendingReads) takeAll() (taken map[string]cause, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken, why = p.causes, cmp.Or(p.fullWhy, "very many apps changed at once")
	p.causes, p.order, p.full, p.fullSoon, p.fullWhy = map[string]cause{}, nil, false, false, ""
	return taken, why
}

// wantsFull reports whether a full read is asked for that may not wait.
func (p *pendingReads) wantsFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full
}

// takeFullSoon reports whether a full read is asked for that may wait a little, and
// takes it.
func (p *pendingReads) takeFullSoon() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	soon := p.fullSoon
	p.fullSoon = false
	return soon
}
