package xds

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
)

// It is told when an Envoy is sent a cluster that it has in another version, and only then.
func TestReplaced(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	f := startServer(t, slog.DiscardHandler, func(s *Server) {
		s.Replaced = func(fleet, nodeID, cluster string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fleet+" "+nodeID+" "+cluster)
		}
	})
	f.store.Open()
	f.set(Cluster, "1", "a", "b")
	f.set(Listener, "1", "b")
	c := f.connect()
	c.Subscribe(clusters)
	c.Ack(c.Expect(clusters, []string{"a", "b"}))
	c.Subscribe(listeners)
	c.Ack(c.Expect(listeners, []string{"b"}))
	f.set(Cluster, "2", "b")
	f.set(Listener, "2", "b")
	c.Ack(c.Expect(clusters, []string{"b"}))
	c.Ack(c.Expect(listeners, []string{"b"}))
	f.remove(Cluster, "b")
	c.Ack(c.Expect(clusters, nil, "b"))
	f.set(Cluster, "3", "b")
	c.Ack(c.Expect(clusters, []string{"b"}))
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, []string{"edge envoy-1 b"}) {
		t.Errorf("%q", told)
	}
}
