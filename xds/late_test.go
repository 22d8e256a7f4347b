package xds

import (
	"testing"
	"time"
)

// An Envoy that came with listeners and asks for an extension then has connections without it for a
// while. One that has begun with the extension has none.
func TestLate(t *testing.T) {
	store, clock, connect := scripts(t)
	server := &Server{nodes: make(map[node][]*stream), streams: make(map[*stream]struct{})}
	setIn(t, store, ExtensionConfig, "1", "hosts", "scaling")
	setIn(t, store, Listener, "1", "http", "tcp")
	*clock = time.Now()
	had := map[string]string{"http": "older"}
	for id, talk := range map[string]func(e *script){
		"a new Envoy": func(e *script) {
			e.subscribe(Listener)
			e.subscribe(ExtensionConfig, "hosts")
			e.subscribe(ExtensionConfig, "scaling")
		},
		"came with it": func(e *script) {
			e.resume(Listener, had)
			e.resume(ExtensionConfig, map[string]string{"hosts": "1", "scaling": "1"}, "hosts", "scaling")
			e.subscribe(ExtensionConfig, "scaling")
		},
		"needs it not": func(e *script) {
			e.resume(Listener, map[string]string{"tcp": "1"}, "tcp")
			e.resume(ExtensionConfig, map[string]string{"hosts": "1"}, "hosts")
		},
		"late": func(e *script) {
			e.resume(ExtensionConfig, map[string]string{"hosts": "1"}, "hosts")
			e.resume(Listener, had)
			e.subscribe(ExtensionConfig, "scaling")
		},
		"never": func(e *script) {
			e.resume(Listener, had)
			e.resume(ExtensionConfig, map[string]string{"hosts": "1"}, "hosts")
		},
	} {
		e := connect(id, "1.40.0")
		talk(e)
		st := &stream{session: e.session, info: StreamStatus{Fleet: "external", NodeID: id}}
		server.streams[st] = struct{}{}
		server.nodes[st.node()] = []*stream{st}
	}
	check := func(within time.Duration, want ...string) {
		t.Helper()
		got := server.Late("external", "scaling", []string{"http", "https"}, within)
		if len(got) != len(want) {
			t.Fatalf("late are %+v, want %v", got, want)
		}
		for i, id := range want {
			if got[i].NodeID != id || got[i].Asked.IsZero() != (id == "never") {
				t.Errorf("late are %+v, want %v", got, want)
			}
		}
	}
	check(time.Minute, "late", "never")
	check(0, "never")

	// It stays so when the Envoy comes again, and has the extension by then.
	for st := range server.streams {
		if st.info.NodeID == "late" {
			asked := st.session.lateAsks()
			again := connect("late", "1.40.0")
			again.resume(Listener, had)
			again.resume(ExtensionConfig, map[string]string{"hosts": "1", "scaling": "1"}, "hosts", "scaling")
			st.session = again.session
			check(time.Minute, "never")
			server.keepLate(st.node(), asked)
		}
	}
	check(time.Minute, "late", "never")
}

// A Relay that was just started has read nothing yet when its Envoys come back.
func TestLateAtARelayThatHasJustStarted(t *testing.T) {
	t.Parallel()
	store := NewStore()
	s := newSession(store, &envoyNode{id: "late", version: "1.40.0"})
	e := &script{t: t, session: s, clock: new(time.Time)}
	*e.clock = time.Now()
	e.resume(Listener, map[string]string{"http": "older"})
	e.resume(ExtensionConfig, map[string]string{"hosts": "1"}, "hosts")
	setIn(t, store, ExtensionConfig, "1", "hosts", "scaling")
	setIn(t, store, Listener, "1", "http")
	store.Open()
	s.handleKept(*e.clock)
	e.subscribe(ExtensionConfig, "scaling")
	if asked, lacks := s.lacks("scaling", []string{"http"}); !lacks || asked.IsZero() {
		t.Errorf("the connections of before are not known: %v, %v", asked, lacks)
	}
}
