package passwords

import (
	"container/list"
	"net/netip"
	"time"
)

// turns is the queue of passwords that are to be checked. The app is next that has used the least CPU lately, the next
// check included: so hashes that take long wait longest. In an app, clients take turns: first those that had a right
// password before, so that who guesses does not keep them out.
type turns struct {
	lines   map[string]*line // by app; those with jobs that wait or run
	waiting int
	// spent is the CPU that apps have used, in seconds, and guesses are the wrong passwords of clients.
	spent   debts[string]
	guesses debts[place]
	// The limits: of checks of an app at once, and of those that wait.
	atOnce, perClient, perApp, inAll int
}

// place is a client of an app.
type place struct {
	app     string
	network netip.Prefix
}

// line is what waits for an app.
type line struct {
	waiting, running int
	known, others    ring
}

// ring has clients in turn, each with its jobs in order of arrival.
type ring struct {
	order list.List // of *client
	of    map[netip.Prefix]*client
}

type client struct {
	network netip.Prefix
	jobs    list.List // of *job
	place   *list.Element
}

func newTurns(l Limits) turns {
	return turns{
		lines: make(map[string]*line), atOnce: l.AtOncePerApp, perClient: l.WaitingPerClient, perApp: l.WaitingPerApp, inAll: l.Waiting,
		spent:   newDebts[string](l.Ahead.Seconds(), l.Cores),
		guesses: newDebts[place](float64(l.Guesses), 1/l.GuessEvery.Seconds()),
	}
}

// add has a job wait for its turn.
func (t *turns) add(j *job, known bool) {
	l := t.lines[j.place.app]
	if l == nil {
		l = &line{}
		t.lines[j.place.app] = l
	}
	j.ring = &l.others
	if known {
		j.ring = &l.known
	}
	j.ring.add(j)
	l.waiting++
	t.waiting++
}

func (r *ring) add(j *job) {
	c := r.of[j.place.network]
	if c == nil {
		if r.of == nil {
			r.of = make(map[netip.Prefix]*client)
		}
		c = &client{network: j.place.network}
		c.place = r.order.PushBack(c)
		r.of[c.network] = c
	}
	j.element = c.jobs.PushBack(j)
}

// room makes room for a job, if it can. Who has most in the queue loses what came last: of all apps, and of the clients
// of an app. Lost is nil if there was room.
func (t *turns) room(j *job, known bool) (lost *job, ok bool) {
	l := t.lines[j.place.app]
	if l == nil {
		l = &line{}
	}
	own := l.others.ofClient(j.place.network)
	if known {
		own = l.known.ofClient(j.place.network)
	}
	switch {
	case own >= t.perClient:
		return nil, false
	case l.waiting >= t.perApp:
		lost = l.others.longest()
		if lost == nil || !known && l.others.ofClient(lost.place.network) <= own+1 {
			return nil, false
		}
		return lost, true
	case t.waiting >= t.inAll:
		var longest *line
		for _, other := range t.lines {
			if longest == nil || other.waiting > longest.waiting {
				longest = other
			}
		}
		if longest == nil || longest.waiting <= l.waiting+1 {
			return nil, false
		}
		if lost = longest.others.longest(); lost == nil {
			lost = longest.known.longest()
		}
		return lost, true
	}
	return nil, true
}

// ofClient is how many jobs of a client wait.
func (r *ring) ofClient(network netip.Prefix) int {
	if c := r.of[network]; c != nil {
		return c.jobs.Len()
	}
	return 0
}

// longest returns the last job of the client that has most; nil if there is none.
func (r *ring) longest() *job {
	var most *client
	for _, c := range r.of {
		if most == nil || c.jobs.Len() > most.jobs.Len() {
			most = c
		}
	}
	if most == nil {
		return nil
	}
	return most.jobs.Back().Value.(*job)
}

// first returns the job of a line whose turn it is; there must be one.
func (l *line) first() *job {
	r := &l.known
	if r.order.Len() == 0 {
		r = &l.others
	}
	return r.order.Front().Value.(*client).jobs.Front().Value.(*job)
}

// remove takes a job that waits out of the queue.
func (t *turns) remove(j *job) {
	l, c := t.lines[j.place.app], j.ring.of[j.place.network]
	c.jobs.Remove(j.element)
	j.element = nil
	l.waiting--
	t.waiting--
	if c.jobs.Len() == 0 {
		j.ring.order.Remove(c.place)
		delete(j.ring.of, c.network)
	} else {
		j.ring.order.MoveToBack(c.place)
	}
	t.forget(j.place.app)
}

// next takes the job out whose turn it is, and has its app pay for it. If all have to wait, it returns for how long; 0 is until
// one ends or comes.
func (t *turns) next(now time.Time) (j *job, wait time.Duration) {
	var least *line
	var cost float64
	for name, l := range t.lines {
		if l.waiting == 0 || l.running >= t.atOnce {
			continue
		}
		if w := t.spent.wait(name, now); w > 0 {
			if wait == 0 || w < wait {
				wait = w
			}
			continue
		}
		first := l.first()
		if c := t.spent.owed(name, now) + first.cost.Seconds(); j == nil || c < cost {
			j, least, cost = first, l, c
		}
	}
	if j == nil {
		return nil, wait
	}
	least.running++
	t.remove(j)
	t.spent.add(j.place.app, j.cost.Seconds(), now)
	return j, 0
}

// ended says that a job has ended that was the next one.
func (t *turns) ended(app string) {
	t.lines[app].running--
	t.forget(app)
}

func (t *turns) forget(app string) {
	if l := t.lines[app]; l.waiting == 0 && l.running == 0 {
		delete(t.lines, app)
	}
}
