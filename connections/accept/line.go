package accept

import (
	"container/list"
	"net/netip"
	"time"
)

// patience is how long clients wait that do not come again. Envoy does not always notice that a client
// has left. So of one whose first connection has waited for longer, the last one goes on first: if it
// came again, that is the one that it waits at.
const patience = 10 * time.Second

// line has the connections that wait. Clients take turns, so that one that opens very many does not
// delay the others. Those of one client go on in order of arrival.
type line struct {
	clients map[netip.Prefix]*client
	// order has the *client that take turns: the one whose turn is next is the first. Those in late
	// have none while there are others: what they have in the line they have likely given up.
	order, late list.List
	waiting     int
}

// client is one that has connections in the line.
type client struct {
	key     netip.Prefix
	waiting list.List // of *place, in order of arrival
	in      *list.List
	place   *list.Element
}

// move has a client wait in one of the lists.
func (c *client) move(to *list.List) {
	if c.in != nil {
		c.in.Remove(c.place)
	}
	c.in, c.place = to, to.PushBack(c)
}

// place is that of a connection in the line.
type place struct {
	came   time.Time
	line   *line
	client *client
	at     *list.Element // nil once it has left the line
	// turn is closed when the connection may go on, closed when another one has its place.
	turn, closed chan struct{}
}

// became returns what became of a connection that has left the line by itself.
func (p *place) became() outcome {
	select {
	case <-p.closed:
		return full
	default:
		return waited
	}
}

func newLine() line { return line{clients: make(map[netip.Prefix]*client)} }

// enter adds a connection of a client.
func (l *line) enter(key netip.Prefix, now time.Time) *place {
	c := l.clients[key]
	if c == nil {
		c = &client{key: key}
		l.clients[key] = c
	}
	if c.in != &l.order {
		c.move(&l.order)
	}
	p := &place{came: now, line: l, client: c, turn: make(chan struct{}), closed: make(chan struct{})}
	p.at = c.waiting.PushBack(p)
	l.waiting++
	return p
}

// of returns how many connections of a client wait.
func (l *line) of(key netip.Prefix) int {
	if c := l.clients[key]; c != nil {
		return c.waiting.Len()
	}
	return 0
}

// leave takes a connection out. It is false if it had left before.
func (l *line) leave(p *place) bool {
	if p.at == nil {
		return false
	}
	c := p.client
	c.waiting.Remove(p.at)
	p.at = nil
	l.waiting--
	if c.waiting.Len() == 0 {
		c.in.Remove(c.place)
		delete(l.clients, c.key)
	}
	return true
}

// giveUp takes a connection of a client out that the client has likely given up; nil if there is none.
func (l *line) giveUp(key netip.Prefix, now time.Time) *place {
	c := l.clients[key]
	if c == nil {
		return nil
	}
	first := c.waiting.Front().Value.(*place)
	if now.Sub(first.came) <= patience {
		return nil
	}
	l.leave(first)
	return first
}

// giveUpLast takes the connection out whose turn comes last, or nearly; nil if none waits.
func (l *line) giveUpLast() *place {
	last := l.late.Back()
	if last == nil {
		last = l.order.Back()
	}
	if last == nil {
		return nil
	}
	p := last.Value.(*client).waiting.Back().Value.(*place)
	l.leave(p)
	return p
}

// next takes the connection out whose turn it is; nil if none waits.
func (l *line) next(now time.Time) *place {
	first := l.order.Front()
	if first == nil {
		first = l.late.Front()
	}
	if first == nil {
		return nil
	}
	c := first.Value.(*client)
	p := c.waiting.Front().Value.(*place)
	if now.Sub(p.came) <= patience {
		c.move(&l.order)
	} else {
		c.move(&l.late)
		p = c.waiting.Back().Value.(*place)
	}
	l.leave(p)
	return p
}

// oldest returns when the connection came that has waited for longest; zero if none waits.
func (l *line) oldest() (oldest time.Time) {
	for _, c := range l.clients {
		if came := c.waiting.Front().Value.(*place).came; oldest.IsZero() || came.Before(oldest) {
			oldest = came
		}
	}
	return oldest
}
