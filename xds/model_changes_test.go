package xds

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

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
				r = r.OrWithout(selector, w.variant(name, cluster))
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

// variant makes a variant of a listener that differs from the listener, and from other variants, but
// names the same cluster.
func (w *modelWorld) variant(name, cluster string) Resource {
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
