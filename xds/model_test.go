package xds

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

var modelSeed = flag.Uint64("model-seed", 1, "seed of the model; 0 for a new one")

var modelSteps = flag.Int("model-steps", 20_000, "steps of the model")

// modelWorld changes a store at random, always from one consistent state to
// another. The store is that of one life of a Relay.
type modelWorld struct {
	t     testing.TB
	rng   *rand.Rand
	now   time.Time
	store *Store
	// current is what a Relay that has read everything publishes.
	current  map[Key]Resource
	clusters map[string]bool
	scopes   map[string]string // scope -> cluster
	// services are listeners that name a cluster.
	services map[string]string
	led      string // the scope that the leading one leads to
	serial   int
	envoys   []*modelEnvoy
}

// restart is a new life of the Relay, or another one. Its types are opened one by one
// while Envoys come.
func (w *modelWorld) restart() {
	old := w.store
	w.store = NewStore()
	c := Change{Resolve: func(name string) (string, bool, bool) {
		secret, ok := strings.CutSuffix(name, ".test")
		return secret, secret < "x4", ok
	}}
	for _, key := range slices.SortedFunc(maps.Keys(w.current), compareKeys) {
		c.Set = append(c.Set, w.current[key])
	}
	w.store.Apply(c)
	if w.rng.IntN(2) == 0 {
		w.store.Open()
	}
	for _, e := range w.envoys {
		// Only the Relay that sent a rejected response knows what Envoy may have taken over of it.
		// Another one cannot know: see docs/rejections.md.
		lost := old == nil || e.session == nil
		if !lost {
			e.session.close()
			lost = !old.allConfirmed(e.node.id)
			e.session = nil
		}
		if lost {
			e.start(w.store)
		} else {
			e.connect(w.store)
		}
	}
}

// allConfirmed reports whether nothing is unconfirmed of an Envoy without a stream.
func (s *Store) allConfirmed(node string) bool {
	for t := range s.tables {
		u := s.unconfirmed.take(node, Type(t))
		if !u.empty() {
			return false
		}
	}
	return true
}

func (w *modelWorld) any() *modelEnvoy { return w.envoys[w.rng.IntN(len(w.envoys))] }

// TestModel lets several Envoys follow random changes. Requests and responses take random times,
// content and machines cause rejections, streams break, Envoys and Relays start anew, and types open
// one by one.
//
// No scope or listener may ever name a cluster that its Envoy does not have warm. Once all is quiet
// every Envoy serves what the store has, and what counts as acknowledged is served. Once ports are
// free, what was rejected for them is served.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &modelWorld{
		t: t, rng: rng, now: testTime, current: make(map[Key]Resource),
		clusters: make(map[string]bool), scopes: make(map[string]string), services: make(map[string]string),
	}
	for _, r := range []Resource{testResource(t, Listener, "http", noCluster), testResource(t, ExtensionConfig, "hosts", "hosts")} {
		w.current[r.Key] = r
	}
	for i, version := range []string{"1", "1", "1", "2"} {
		w.envoys = append(w.envoys, newModelEnvoy(t, rng, &w.now, fmt.Sprint("edge-", i), version))
	}
	w.restart()
	for step := range *modelSteps {
		switch n := rng.IntN(1000); {
		case n < 100:
			w.change()
		case n < 108:
			w.any().connect(w.store)
		case n < 110:
			w.any().start(w.store)
		case n == 110:
			w.restart()
		case n < 120:
			e := w.any()
			name := w.name("l")
			e.portTaken[name] = !e.portTaken[name]
		case n < 130:
			w.store.Open(Type(rng.IntN(int(numTypes))))
		default:
			w.any().step()
		}
		if step%500 == 499 {
			w.settle()
		}
	}
}

// settle waits until all is quiet, and looks at what came of it.
func (w *modelWorld) settle() {
	w.store.Open()
	w.rest()
	for _, e := range w.envoys {
		e.compare(w.store)
	}
	if w.rng.IntN(2) == 0 {
		return
	}
	for _, e := range w.envoys {
		clear(e.portTaken)
	}
	w.now = w.now.Add(lastPause)
	w.rest()
	for _, e := range w.envoys {
		e.compare(w.store)
		for name := range w.services {
			content := e.current(w.store, Listener, name)
			if got := e.content[Listener][name]; got != content && !strings.HasPrefix(content, poison) {
				e.fail("listener %s says %q, though its port is free; the store has %q", name, got, content)
			}
		}
	}
}

// rest lets all Envoys and the clock go on until nothing happens any more.
func (w *modelWorld) rest() {
	for round := range 4 {
		for _, e := range w.envoys {
			e.quiet = round > 0
			idle := 0
			for n := 0; idle < 50; n++ {
				if n > 100_000 {
					e.fail("does not come to rest: %+v", e.session.status())
				}
				if e.step() {
					idle++
				} else {
					idle = 0
				}
			}
		}
		// An Envoy that was cut off while it started is told again.
		w.now = w.now.Add(startLimit)
	}
	for _, e := range w.envoys {
		e.quiet = false
	}
}

// current is what the store has for this Envoy.
func (e *modelEnvoy) current(store *Store, t Type, name string) string {
	table := &store.tables[t]
	id, ok := table.ids[name]
	if !ok || table.entries[id].presence != present {
		return ""
	}
	entry := valueOf(table.wire(id, e.node).ReadOnlyData(), fieldResponseResources)
	var r discoveryv3.Resource
	if err := proto.Unmarshal(entry, &r); err != nil {
		e.t.Fatal(err)
	}
	return contentOf(e.t, t, &r)
}

// compare fails the test unless Envoy serves what the store has, but for what it, or others of its
// version, rejected: and that is shown.
func (e *modelEnvoy) compare(store *Store) {
	if len(e.warming) > 0 || !e.asked[Cluster] {
		e.fail("at rest %v are warming, and clusters are asked for: %t", e.warming, e.asked[Cluster])
	}
	for t := range Types() {
		typ, table := Type(t), &store.tables[t]
		for id := range table.entries {
			entry := &table.entries[id]
			if entry.presence != present || typ == Secret && !e.secrets[entry.name] {
				continue
			}
			want, got := e.current(store, typ, entry.name), e.content[typ][entry.name]
			p := e.session.progress([]Key{{typ, entry.name}})[0].Progress
			switch {
			case p == Quarantined && typ == Listener:
				// The port is taken for others. Nobody knows that this Envoy has the listener.
			case (p == Acknowledged) != (got == want):
				e.fail("at rest %s %s is %q, and Envoy serves %q of %q", typ, entry.name, p, got, want)
			case p == Acknowledged, p == Rejected && (strings.HasPrefix(want, poison) || typ == Listener), p == Quarantined && strings.HasPrefix(want, poison):
			default:
				e.fail("at rest %s %s, which is %q, is %q", typ, entry.name, want, p)
			}
		}
		for name := range e.content[typ] {
			id, ok := table.ids[name]
			if ok && table.entries[id].presence == present {
				continue
			}
			if !ok || !e.session.types[t].toRemove.Contains(id) || !e.hasStale() {
				e.fail("at rest Envoy has %s %s, which the store does not have", typ, name)
			}
		}
	}
}

// hasStale reports whether the Envoy has an older scope or listener, and so keeps what that names.
func (e *modelEnvoy) hasStale() bool {
	return e.session.types[Scope].oldestStale() != noRevision || e.session.types[Listener].oldestStale() != noRevision
}
