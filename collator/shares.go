package collator

import (
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// takingNew returns how many instances of a cluster take new requests.
func (c *Collator) takingNew(cluster string) int {
	id, port := routing.SplitClusterName(cluster)
	return routing.TakingNew(c.routed(id), port)
}

// TakingNew returns how many instances of a cluster take new requests.
func (c *Collator) TakingNew(cluster string) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.takingNew(cluster)
}

// markShares has built anew the domains that an app serves together with others, once the number of its instances
// changes by which they share the requests.
func (f *fleetState) markShares(before, after *sources.App, port int) {
	h := httpOf(after, port)
	if h == nil || h.Service == "" || routing.TakingNew(before, port) == routing.TakingNew(after, port) {
		return
	}
	for _, domain := range after.Ports[port].Domains {
		if len(f.domains.claims[domain]) > 1 {
			f.mark(xds.Scope, domain)
		}
	}
}
