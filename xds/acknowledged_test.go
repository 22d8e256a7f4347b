package xds

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relay/xds/xdstest"
)

// wait begins to wait for a cluster and its endpoints.
func (s *script) wait(keys ...Key) (result <-chan error) {
	s.t.Helper()
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	go func() {
		defer cancel()
		done <- s.session.waitAcknowledged(ctx, keys)
	}()
	waitUntil(s.t, "it waits", func() (waiting bool) {
		s.session.locked(func() { waiting = len(s.session.waiters) > 0 })
		return waiting || len(done) > 0
	})
	return done
}

func waitUntil(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !check(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// It is no use to let a request through before the Envoy has the cluster and its endpoints, whatever
// of both it asks for or acknowledges first.
func TestWaitAcknowledged(t *testing.T) {
	store, _, connect := scripts(t)
	e := connect("edge-1", "1.40.0")
	waits := func(result <-chan error) {
		t.Helper()
		e.plan()
		e.session.locked(func() {
			if len(e.session.waiters) == 0 || len(result) > 0 {
				t.Fatal("it does not wait")
			}
		})
	}
	setIn(t, store, Cluster, "1", "a")
	setIn(t, store, Endpoint, "1", "a")
	result := e.wait(Key{Cluster, "a"}, Key{Endpoint, "a"})
	waits(result) // the Envoy has asked for nothing
	e.subscribe(Cluster)
	sent := e.expect(Cluster, []string{"a"})
	waits(result)
	e.ack(sent)
	waits(result) // it has not asked for the endpoints
	e.subscribe(Endpoint, "a")
	sent = e.expect(Endpoint, []string{"a"})
	waits(result)
	setIn(t, store, Endpoint, "2", "a")
	e.ack(sent)
	sent = e.expect(Endpoint, []string{"a"})
	waits(result)
	e.ack(sent)
	e.quiet()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := <-e.wait(Key{Cluster, "a"}, Key{Endpoint, "a"}, Key{Cluster, "never"}, Key{Listener, "a"}); err != nil {
		t.Errorf("what it has: %v", err)
	}
	setIn(t, store, Cluster, "1", "b")
	setIn(t, store, Endpoint, "1", "b")
	result = e.wait(Key{Cluster, "b"}, Key{Endpoint, "b"})
	e.ack(e.expect(Cluster, []string{"b"}))
	waits(result) // it has asked for the endpoints of another cluster only
	e.subscribe(Endpoint, "b")
	e.ack(e.expect(Endpoint, []string{"b"}))
	e.quiet()
	if err := <-result; err != nil {
		t.Error(err)
	}
	setIn(t, store, Cluster, "bad", "a")
	result = e.wait(Key{Cluster, "a"})
	e.nack(e.expect(Cluster, []string{"a"}), "bad")
	e.plan()
	if err := <-result; !errors.Is(err, ErrRejected) {
		t.Errorf("what it rejects: %v", err)
	}
	setIn(t, store, Cluster, "good", "a")
	result = e.wait(Key{Cluster, "a"})
	waits(result)
	e.session.close()
	if err := <-result; !errors.Is(err, ErrNotConnected) {
		t.Errorf("when it leaves: %v", err)
	}
	if err := <-e.wait(Key{Cluster, "a"}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("when it has left: %v", err)
	}
}

// An Envoy that loads clusters on demand has no more than it asks for.
func TestWaitAcknowledgedOnDemand(t *testing.T) {
	store, _, connect := scripts(t)
	store.ClustersOnDemand = true
	setIn(t, store, Cluster, "1", "a", "b")
	setIn(t, store, Endpoint, "1", "a", "b")
	setIn(t, store, Scope, "1", "s")
	e := connect("edge-1", "1.40.0")
	e.subscribe(Scope)
	e.ack(e.expect(Scope, []string{"s"}))
	if err := <-e.wait(Key{Cluster, "a"}, Key{Endpoint, "a"}); err != nil {
		t.Error(err)
	}
	e.subscribe(Cluster, "b")
	sent := e.expect(Cluster, []string{"b"})
	if err := <-e.wait(Key{Cluster, "a"}, Key{Endpoint, "a"}); err != nil {
		t.Error(err)
	}
	result := e.wait(Key{Cluster, "b"})
	e.ack(sent)
	e.plan()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// Those who give up waiting leave nothing.
func TestWaitAcknowledgedEnds(t *testing.T) {
	store, _, connect := scripts(t)
	e := connect("edge-1", "1.40.0")
	setIn(t, store, Cluster, "1", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.session.waitAcknowledged(ctx, []Key{{Cluster, "a"}}); !errors.Is(err, context.Canceled) || len(e.session.waiters) > 0 {
		t.Errorf("%v, %d wait", err, len(e.session.waiters))
	}
}

// Over a connection: the newest stream of an Envoy counts, and others only for a moment.
func TestWaitForStreams(t *testing.T) {
	f := serve(t)
	keys := []Key{{Cluster, "a"}}
	if err := f.server.WaitAcknowledged(t.Context(), "edge", "envoy-1", keys); !errors.Is(err, ErrNotConnected) {
		t.Errorf("without a stream: %v", err)
	}
	f.set(Cluster, "1", "a")
	old, c, other := f.connect(), f.connect(), xdstest.Connect(t, f.address, "edge", "envoy-2")
	old.Subscribe(clusters)
	old.Expect(clusters, []string{"a"}) // and never answers
	c.Subscribe(clusters)
	sent := c.Expect(clusters, []string{"a"})
	other.Subscribe(clusters)
	other.Ack(other.Expect(clusters, []string{"a"}))
	waitUntil(t, "the other has it", func() bool { return slices.Equal(f.server.Unacknowledged("edge", keys), []string{"envoy-1"}) })
	done, all := make(chan error, 1), make(chan error, 1)
	go func() { done <- f.server.WaitAcknowledged(t.Context(), "edge", "envoy-1", keys) }()
	go func() { all <- f.server.WaitAllAcknowledged(t.Context(), "edge", keys) }()
	c.Ack(sent)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(all) > 0 {
		t.Error("not all streams have it")
	}
	old.Close()
	if err := <-all; err != nil {
		t.Error(err)
	}
}

// Half a second is what an old stream costs.
func TestWaitForAnOldStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewStore()
		store.Open()
		s := &Server{nodes: make(map[node][]*stream)}
		for range 2 {
			st := &stream{session: newSession(store, &envoyNode{id: "a"}), info: StreamStatus{Fleet: "edge", NodeID: "a"}}
			s.nodes[st.node()] = append(s.nodes[st.node()], st)
		}
		newest := &script{t: t, session: s.nodes[node{"edge", "a"}][1].session, clock: new(time.Time)}
		*newest.clock = time.Now()
		newest.subscribe(Cluster)
		newest.ack(newest.expect(Cluster, nil))
		start := time.Now()
		if err := s.WaitAcknowledged(t.Context(), "edge", "a", []Key{{Cluster, "a"}}); err != nil || time.Since(start) != otherStreams {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// The list of Envoys is made when one came or left, and not each time somebody asks.
func TestEnvoys(t *testing.T) {
	f := serve(t)
	if list, generation := f.server.Envoys("edge"); len(list) != 0 || generation != 0 {
		t.Errorf("%v, %d", list, generation)
	}
	connect := func(id string, minor uint32) *xdstest.Client {
		c := xdstest.Connect(t, f.address, "edge", id)
		c.Version(1, minor, 2)
		c.Subscribe(clusters)
		c.Ack(c.Expect(clusters, nil))
		return c
	}
	connect("b", 40)
	connect("a", 38)
	connect("a", 38)
	list, generation := f.server.Envoys("edge")
	if len(list) != 2 || list[0].NodeID != "a" || list[0].Version != "1.38.2" || !list[0].Before(39) || list[1].Before(39) || generation != 3 {
		t.Errorf("%+v, %d", list, generation)
	}
	if again, same := f.server.Envoys("edge"); &again[0] != &list[0] || same != generation {
		t.Error("the list is made anew")
	}
	connect("c", 40).Close()
	waitUntil(t, "it has left", func() bool { _, now := f.server.Envoys("edge"); return now == generation+2 })
	if list, _ := f.server.Envoys("edge"); len(list) != 2 {
		t.Errorf("%+v", list)
	}
	if list, _ := f.server.Envoys("core"); len(list) != 0 {
		t.Errorf("of another fleet: %+v", list)
	}
}
