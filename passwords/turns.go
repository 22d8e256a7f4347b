package passwords

import (
	"container/list"
	"net/netip"
	"time"
)

// turns is the queue of passwords that are to be checked. The app is next that has used the least CPU lately. In
// it, clients take turns: first those that had a right password before, so that who guesses does not
// keep them out. So it is only the guesses of one client at one app that wait behind each other.
type turns struct {
	lines   map[string]*line // by app; those with jobs that wait or run
	waiting int
	// spent is the CPU that apps have used, in seconds, and guesses are the wrong passwords of clients.
	spent   debts[string]
	guesses debts[place]
	atOnce  int // of one app
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
		lines: make(map[string]*line), atOnce: l.AtOncePerApp,
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

// ofClient is how many jobs of a client wait.
func (t *turns) ofClient(p place) (n int) {
	if l := t.lines[p.app]; l != nil {
		for _, r := range []*ring{&l.known, &l.others} {
			if c := r.of[p.network]; c != nil {
				n += c.jobs.Len()
			}
		}
	}
	return n
}

// ofApp is how many jobs of an app wait.
func (t *turns) ofApp(app string) int {
	if l := t.lines[app]; l != nil {
		return l.waiting
	}
	return 0
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
	var app string
	var least *line
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
		if least == nil || t.spent.owed(name, now) < t.spent.owed(app, now) {
			app, least = name, l
		}
	}
	if least == nil {
		return nil, wait
	}
	r := &least.known
	if r.order.Len() == 0 {
		r = &least.others
	}
	j = r.order.Front().Value.(*client).jobs.Front().Value.(*job)
	least.running++
	t.remove(j)
	t.spent.add(app, j.cost.Seconds(), now)
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
