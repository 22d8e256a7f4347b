package xds

import (
	"testing"
)

func TestProgress(t *testing.T) {
	f := serve(t)
	f.set(Cluster, "1", "a", "b")
	f.set(Endpoint, "1", "a", "b")
	want := func(when string, want ...Progress) {
		t.Helper()
		keys := []Key{{Cluster, "a"}, {Cluster, "b"}, {Endpoint, "a"}, {Endpoint, "b"}, {Cluster, "none"}}
		all := f.server.Progress("edge", keys)
		if len(all) != 1 || all[0].NodeID != "envoy-1" {
			t.Fatalf("%s: Envoys are %+v", when, all)
		}
		for i, got := range all[0].Resources {
			if got.Progress != want[i] {
				t.Errorf("%s: %s %q is %q, want %q", when, keys[i].Type, keys[i].Name, got.Progress, want[i])
			}
		}
	}
	c := f.connect()
	c.Subscribe(clusters, "*")
	sent := c.Expect(clusters, []string{"a", "b"})
	want("sent", InFlight, InFlight, NotAsked, NotAsked, Missing)
	f.set(Cluster, "2", "a")
	want("changed", Due, InFlight, NotAsked, NotAsked, Missing)
	c.Ack(sent)
	sent = c.Expect(clusters, []string{"a"})
	want("sent again", InFlight, Acknowledged, NotAsked, NotAsked, Missing)
	c.Nack(sent, "bad")
	c.Subscribe(endpoints, "b")
	c.Ack(c.Expect(endpoints, []string{"b"}))
	// One stream's requests are read in order: this answer tells that all are.
	c.Subscribe(endpoints, "a")
	c.Expect(endpoints, []string{"a"})
	want("rejected", Rejected, Acknowledged, InFlight, Acknowledged, Missing)
	if all := f.server.Progress("other", nil); len(all) != 0 {
		t.Errorf("another fleet has %+v", all)
	}
}

// A secret that answers for other names is as far as the one of them that the
// Envoy asked for.
func TestProgressOfAliases(t *testing.T) {
	f := serve(t)
	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "1")}, Resolve: resolveTo("vault/a", "a.test")})
	want := func(want Progress) {
		t.Helper()
		if got := f.server.Progress("edge", []Key{{Secret, "vault/a"}})[0].Resources[0].Progress; got != want {
			t.Errorf("it is %q, want %q", got, want)
		}
	}
	c := f.connect()
	c.Subscribe(clusters)
	c.Expect(clusters, nil)
	want(NotAsked)
	c.Subscribe(secrets, "a.test")
	sent := c.Expect(secrets, []string{"a.test"})
	want(InFlight)
	c.Ack(sent)
	c.ExpectNothing()
	want(Acknowledged)
}
