package collator

import (
	"slices"
	"time"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds"
)

const (
	// refusesFor is how long the cluster of a cache that has gone refuses commands. It is longer than Envoys let a listener drain:
	// clients may stay connected for as long.
	refusesFor = time.Hour
	// maxRefusing is how many clusters do so at most that no cache names any more.
	maxRefusing = 1000
)

// refusing are the clusters that must be there though no app has them: those that caches name, or did lately. Envoy 1.36 to 1.40
// crashes when a client begins a transaction with a key whose cluster is missing. They refuse all commands. What was named before
// Relay started is not known.
type refusing struct {
	by    map[string][]string // by app
	named map[string]int      // by cluster: how many name it
	left  map[string]time.Time
}

func newRefusing() *refusing {
	return &refusing{by: make(map[string][]string), named: make(map[string]int), left: make(map[string]time.Time)}
}

// has reports whether a cluster must be there.
func (r *refusing) has(cluster string) bool {
	_, left := r.left[cluster]
	return left || r.named[cluster] > 0
}

// note takes the clusters that the caches of an app name now. It marks those that must be there from now on, or no longer.
func (r *refusing) note(app string, clusters []string, now time.Time, mark func(cluster string)) {
	for cluster, since := range r.left {
		if now.Sub(since) > refusesFor {
			delete(r.left, cluster)
			mark(cluster)
		}
	}
	before := r.by[app]
	for _, cluster := range clusters {
		if !r.has(cluster) {
			mark(cluster)
		}
		r.named[cluster]++
		delete(r.left, cluster)
	}
	for _, cluster := range before {
		if r.named[cluster]--; r.named[cluster] > 0 {
			continue
		}
		if delete(r.named, cluster); len(r.left) < maxRefusing {
			r.left[cluster] = now
		} else {
			mark(cluster)
		}
	}
	if r.by[app] = clusters; len(clusters) == 0 {
		delete(r.by, app)
	}
}

// forgetApps has all apps be noted anew.
func (r *refusing) forgetApps(now time.Time) {
	for cluster := range r.named {
		r.left[cluster] = now
	}
	r.by, r.named = make(map[string][]string), make(map[string]int)
}

// clustersOfCaches are those that some services name in filters of Redis.
func clustersOfCaches(services []routing.Service) (clusters []string) {
	for _, s := range services {
		if s.Redis == nil {
			continue
		}
		clusters = append(clusters, s.Cluster())
		for _, of := range s.Redis.Prefixes {
			clusters = append(clusters, envoy.NoCluster, routing.ClusterName(of.App.App, of.App.Port))
		}
	}
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

// refuses reports whether a resource is of a cluster that refuses all commands, as the fleet has no app port for it. An app that
// sleeps has no cluster, whoever names it: its requests wait for one.
func (f *fleetState) refuses(key xds.Key) bool {
	if !f.refusing.has(key.Name) {
		return false
	}
	id, port := routing.SplitClusterName(key.Name)
	return !f.Routes(id, f.c.routed(id), port)
}
