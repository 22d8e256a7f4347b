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

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var modelSeed = flag.Uint64("model-seed", 0, "seed of the model; 0 for a new one")

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

const (
	// leading is the scope that names a scope, and no cluster.
	leading = "*.*"
	// noCluster is what the listener says that leads to scopes.
	noCluster = "none"
	// poison is what Envoys reject.
	poison = "poison"

	modelNames = 8
)

func (w *modelWorld) name(kind string) string { return fmt.Sprint(kind, w.rng.IntN(modelNames)) }

// content is what no resource said before; Envoys may reject it.
func (w *modelWorld) content() string {
	w.serial++
	if w.rng.IntN(20) == 0 {
		return fmt.Sprint(poison, w.serial)
	}
	return fmt.Sprint(w.serial)
}

// naming is the content of what names a cluster, or Envoys reject it.
func (w *modelWorld) naming(cluster string) string {
	if w.rng.IntN(20) == 0 {
		return fmt.Sprint(poison, cluster, w.rng.IntN(2))
	}
	return cluster
}

func (w *modelWorld) apply(c Change) {
	for _, k := range c.Remove {
		delete(w.current, k)
	}
	for _, r := range c.Set {
		w.current[r.Key] = r
	}
	w.store.Apply(c)
}

func (w *modelWorld) change() {
	var c Change
	for range 1 + w.rng.IntN(3) {
		w.changeOne(&c)
	}
	// Later steps of one change win, as in the collator, which makes a change
	// from what is so in the end.
	set := make(map[Key]Resource)
	for _, r := range c.Set {
		set[r.Key] = r
	}
	out := Change{}
	for _, k := range c.Remove {
		var exists bool
		switch k.Type {
		case Scope:
			exists = w.scopes[k.Name] != ""
		case Listener:
			exists = w.services[k.Name] != ""
		case Secret:
			_, exists = set[k]
		default:
			exists = w.clusters[k.Name]
		}
		if !exists {
			delete(set, k)
			out.Remove = append(out.Remove, k)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(set), compareKeys) {
		out.Set = append(out.Set, set[key])
	}
	w.apply(out)
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
}

func (w *modelWorld) changeOne(c *Change) {
	set := func(t Type, name, content string) { c.Set = append(c.Set, testResource(w.t, t, name, content)) }
	switch w.rng.IntN(10) {
	case 0, 1: // a cluster comes or changes
		name := w.name("c")
		w.clusters[name] = true
		// A cluster that Envoy rejects would make every scope that names it break
		// the rule under test.
		w.serial++
		set(Cluster, name, fmt.Sprint(w.serial))
		set(Endpoint, name, w.content())
	case 2: // a cluster goes, with or without its scopes
		w.dropCluster(c, w.name("c"))
	case 3, 4: // a scope comes or moves
		if cluster := w.anyCluster(); cluster != "" {
			scope := w.name("s")
			w.scopes[scope] = cluster
			set(Scope, scope, w.naming(cluster))
			if w.led == "" || w.rng.IntN(8) == 0 {
				w.led = scope
				set(Scope, leading, scope)
			}
		}
	case 5: // a scope goes
		w.dropScope(c, w.name("s"))
	case 6: // a listener comes or moves
		if cluster := w.anyCluster(); cluster != "" {
			name := w.name("l")
			w.services[name] = cluster
			r := testResource(w.t, Listener, name, w.naming(cluster))
			if w.rng.IntN(2) == 0 {
				r = r.OrWithout(selector, w.secondForm(name, cluster))
			}
			c.Set = append(c.Set, r)
		}
	case 7: // a listener goes
		w.dropService(c, w.name("l"))
	case 8: // a secret comes or changes
		set(Secret, w.name("x"), w.content())
	case 9:
		if w.rng.IntN(4) == 0 {
			set(ExtensionConfig, "hosts", w.content())
		} else {
			c.Remove = append(c.Remove, Key{Secret, w.name("x")})
		}
	}
}

// secondForm makes a listener that differs from the first form, and from
// others like it, but for the cluster that it names.
func (w *modelWorld) secondForm(name, cluster string) Resource {
	r, err := NewResource(Listener, name, &listenerv3.Listener{
		Name: name, StatPrefix: w.naming(cluster), TcpBacklogSize: wrapperspb.UInt32(uint32(w.rng.IntN(3))),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *modelWorld) dropService(c *Change, name string) {
	delete(w.services, name)
	c.Remove = append(c.Remove, Key{Listener, name})
}

func (w *modelWorld) dropCluster(c *Change, name string) {
	for _, scope := range slices.Sorted(maps.Keys(w.scopes)) {
		if w.scopes[scope] == name {
			if other := w.anyCluster(); other != name && other != "" {
				w.scopes[scope] = other
				c.Set = append(c.Set, testResource(w.t, Scope, scope, w.naming(other)))
			} else {
				w.dropScope(c, scope)
			}
		}
	}
	for _, service := range slices.Sorted(maps.Keys(w.services)) {
		if w.services[service] == name {
			w.dropService(c, service)
		}
	}
	for _, cluster := range w.scopes {
		if cluster == name {
			return // the last scope, which the leading one leads to, keeps it
		}
	}
	delete(w.clusters, name)
	c.Remove = append(c.Remove, Key{Cluster, name}, Key{Endpoint, name})
}

func (w *modelWorld) dropScope(c *Change, name string) {
	if w.led == name {
		others := slices.Sorted(maps.Keys(w.scopes))
		others = slices.DeleteFunc(others, func(scope string) bool { return scope == name })
		if len(others) == 0 {
			return
		}
		w.led = others[0]
		c.Set = append(c.Set, testResource(w.t, Scope, leading, w.led))
	}
	delete(w.scopes, name)
	c.Remove = append(c.Remove, Key{Scope, name})
}

func (w *modelWorld) anyCluster() string {
	names := slices.Sorted(maps.Keys(w.clusters))
	if len(names) == 0 {
		return ""
	}
	return names[w.rng.IntN(len(names))]
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
		// What an Envoy took over of a response that it rejected, only the Relay knows
		// that sent it. Another one cannot: see docs/rejections.md.
		lost := old == nil || e.session == nil
		if !lost {
			e.session.close()
			lost = !old.certain(e.kind.id)
			e.session = nil
		}
		if lost {
			e.start(w.store)
		} else {
			e.connect(w.store)
		}
	}
}

// certain reports whether nothing is in doubt of an Envoy that is away.
func (s *Store) certain(node string) bool {
	for t := range s.tables {
		u := s.unconfirmed.take(node, Type(t))
		if !u.empty() {
			return false
		}
	}
	return true
}

func (w *modelWorld) any() *modelEnvoy { return w.envoys[w.rng.IntN(len(w.envoys))] }

// TestModel lets several Envoys follow random changes, with requests and responses on
// their way for random times, rejections of content and by machine, streams that break,
// Envoys and Relays that start anew, and types that open one by one.
//
// No scope or listener may ever name a cluster that its Envoy does not hold warm. Once
// all is quiet every Envoy serves what the store holds, and what is said to be
// acknowledged is served. Once ports are free, what was rejected for them is served.
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
			e.busy[name] = !e.busy[name]
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
		clear(e.busy)
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
	entry := valueOf(table.wire(id, e.kind).ReadOnlyData(), fieldResponseResources)
	var r discoveryv3.Resource
	if err := proto.Unmarshal(entry, &r); err != nil {
		e.t.Fatal(err)
	}
	return contentOf(e.t, t, &r)
}

// compare fails the test unless Envoy serves what the store holds, but for what it, or
// others of its version, rejected: and that is what is said.
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
				// Others have no port for it. That it has it already is not known.
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
			if !ok || !e.session.types[t].toRemove.Contains(id) || !e.lacks() {
				e.fail("at rest Envoy has %s %s, which the store does not have", typ, name)
			}
		}
	}
}

// lacks reports whether the Envoy has an older scope or listener, and so keeps what
// that names.
func (e *modelEnvoy) lacks() bool {
	return e.session.types[Scope].oldestStale() != noRevision || e.session.types[Listener].oldestStale() != noRevision
}
