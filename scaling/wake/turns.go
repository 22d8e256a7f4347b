package wake

import (
	"container/list"
	"net/netip"
	"time"
)

// turns is the queue of apps that are to be woken. Networks of clients take turns, and each has its
// apps in order of arrival. So somebody who asks for thousands of apps does not delay those that
// others ask for. An app that several networks ask for is taken when it is first of any of them.
type turns struct {
	networks map[netip.Prefix]*network
	order    list.List // of *network: those with apps, the next one first
	queued   int       // apps in all networks
}

// network is one whose clients ask for apps.
type network struct {
	prefix netip.Prefix
	// held is how many requests of it are held.
	held  int
	apps  list.List     // of *interest
	place *list.Element // in turns.order; nil if there is no app
}

// interest is what the clients of one network want of one app.
type interest struct {
	app     *app
	network *network
	// requests are those that are held. A page that was shown is as good as a request for a while.
	requests int
	until    time.Time
	place    *list.Element // in network.apps; nil if it waits for no turn
}

func newTurns() turns { return turns{networks: make(map[netip.Prefix]*network)} }

// network returns the network with a prefix.
func (t *turns) network(prefix netip.Prefix) *network {
	n := t.networks[prefix]
	if n == nil {
		n = &network{prefix: prefix}
		t.networks[prefix] = n
	}
	return n
}

// forget forgets a network of which nothing is left.
func (t *turns) forget(n *network) {
	if n.held == 0 && n.place == nil {
		delete(t.networks, n.prefix)
	}
}

// add has an app wait for a turn of the network.
func (t *turns) add(i *interest) {
	if i.place != nil {
		return
	}
	i.place = i.network.apps.PushBack(i)
	t.queued++
	if i.network.place == nil {
		i.network.place = t.order.PushBack(i.network)
		t.networks[i.network.prefix] = i.network
	}
}

// remove takes an app out of the queue of the network.
func (t *turns) remove(i *interest) {
	if i.place == nil {
		return
	}
	n := i.network
	n.apps.Remove(i.place)
	i.place = nil
	t.queued--
	if n.apps.Len() == 0 {
		t.order.Remove(n.place)
		n.place = nil
		t.forget(n)
	}
}

// next returns the app whose turn it is, and has its network wait again; nil if no app waits. An
// app whose clients have left is dropped by gone.
func (t *turns) next(now time.Time, gone func(*interest)) *app {
	for t.order.Len() > 0 {
		n := t.order.Front().Value.(*network)
		i := n.apps.Front().Value.(*interest)
		if i.requests == 0 && !now.Before(i.until) {
			t.remove(i)
			gone(i)
			continue
		}
		t.order.MoveToBack(n.place)
		for _, other := range i.app.interests {
			t.remove(other)
		}
		return i.app
	}
	return nil
}
