package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// startNodeApp runs two instances of a script of node, as an app.
func (w *world) startNodeApp(id, domain, script string, labels ...string) (instances []*talker) {
	w.t.Helper()
	var tasks []string
	for _, name := range []string{"one", "two"} {
		instance := startNode(w.t, script, "server", name)
		instances = append(instances, instance)
		tasks = append(tasks, instance.await("127.0.0.1:"))
	}
	w.marathon.service(id, tasks, append([]string{"HAPROXY_0_VHOST", domain}, labels...)...)
	w.eventually("both instances of "+id+" answer", func() error {
		return ok(w.clients.do("http://" + domain + "/"))
	})
	return instances
}

// socket.io begins with requests, all of which have to reach the instance that knows the session, and
// goes on by WebSocket. So it needs an app whose clients stay with their instance.
func TestSocketIO(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		labels []string
		works  bool
	}{
		"sticky":     {[]string{"HAPROXY_0_STICKY", "true"}, true},
		"by address": {[]string{"RELAY_0_HASH_POLICY", "source_ip"}, true},
		"neither":    {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start()
			w.startNodeApp("/io", "io.test", "socketio.mjs", tt.labels...)
			const n = 8
			clients := startNode(t, "socketio.mjs", "client", "http://io.test:"+w.clients.port(), fmt.Sprint(n))
			lost := func() int { return clients.count(" failed") + clients.count(" disconnected") }
			if !tt.works {
				w.eventually("a session is not known", func() error {
					if lost() == 0 {
						return errors.New("all are known")
					}
					return nil
				})
				return
			}
			on := make(map[string]int)
			var open []openConn
			for i := range n {
				clients.await(fmt.Sprint(i, " upgraded websocket"))
				if _, err := fmt.Fprintln(clients.in, i, "who"); err != nil {
					t.Fatal(err)
				}
				on[strings.TrimPrefix(clients.await(fmt.Sprint(i, " instance ")), fmt.Sprint(i))]++
				open = append(open, clients.talk("a client of socket.io", fmt.Sprint(i, " "), fmt.Sprint(i, " said ")))
			}
			if name == "sticky" {
				all(t, "socket.io", on, 2)
			}
			for range 5 {
				w.conns.open(open...)
			}
			if n := lost(); n > 0 {
				t.Errorf("sessions were lost: %q", clients.lines())
			}
		})
	}
}

// A subscription of GraphQL stays open while nothing is said but the client's pings, and goes on with
// another instance when its own ends.
func TestGraphQLSubscriptions(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.startNodeApp("/graphql", "graphql.test", "graphql.mjs", "RELAY_0_IDLE_TIMEOUT", "5s")
	c := startNode(t, "graphql.mjs", "client", "ws://graphql.test:"+w.clients.port()+"/graphql")
	c.await("said subscribed")
	use := c.talk("a subscription", "", "said ")
	w.conns.open(use)
	w.eventually("more than the idle timeout", func() error {
		if n := c.count("pong"); n < 15 { // one each 500 ms
			return fmt.Errorf("%d pings were answered", n)
		}
		return nil
	})
	w.conns.open(use)
	if c.count("connected") != 1 || c.count("closed") > 0 {
		t.Errorf("it did not stay open: %q", c.lines())
	}
}
