package relay

import (
	"sync"

	"relay/collator"
	"relay/internal/scrape"
)

// maxOwned is how many apps have series of their own.
const maxOwned = 2000

var (
	appRequestsCounter = scrape.NewCounter("relay_app_requests_total", "Requests and TCP connections to apps with an owner (RELAY_OWNER), as relay_requests_total counts them.", "app", "owner", "fleet")
	appErrorsCounter   = scrape.NewCounter("relay_app_request_errors_total", "Of those requests to apps with an owner the ones that failed, as relay_request_errors_total counts them.", "app", "owner", "fleet")
	appCrashedCounter  = scrape.NewCounter("relay_app_crashed_requests_total", "Requests that Envoys answered for an app with an owner, since its tasks fail: no instance could get them.", "app", "owner", "fleet")
	appsLeftOutGauge   = scrape.NewGauge("relay_app_series_left_out", "Apps with an owner that have no series of their own, since they are too many.")
)

// ownerCounts counts the requests of apps with an owner. What Envoys report of a cluster is forgotten when none has it
// any more; a counter must not go back, or its rate would be that of all that was before.
type ownerCounts struct {
	owned func() []*collator.OwnedApp
	// cluster and crashed tell the counts so far, which may begin at 0 again.
	cluster func(fleet, cluster string) (requests, errors uint64)
	crashed func(fleet, app string) uint64

	mu   sync.Mutex
	apps map[ownedApp]*ownedCount
}

// ownedApp is an app in a fleet, by the name under which it is routed.
type ownedApp struct{ id, fleet string }

type ownedCount struct {
	requests, errors, crashed float64
	// seen are the counts at the last look, by cluster; those of the crashed have no name.
	seen   map[string][2]uint64
	looked bool
}

// add adds what was counted since the last look.
func (o *ownedCount) add(name string, first, second uint64) (one, two float64) {
	before := o.seen[name]
	o.seen[name] = [2]uint64{first, second}
	return float64(since(before[0], first)), float64(since(before[1], second))
}

func since(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// count tells the counters.
func (o *ownerCounts) count(set scrape.Set) {
	all := o.owned()
	o.mu.Lock()
	defer o.mu.Unlock()
	// An owner of very many apps leaves room for those of others.
	for _, app := range fairly(all, maxOwned, func(a *collator.OwnedApp) (string, bool) { return a.Owner, true }) {
		for _, fleet := range app.Fleets {
			key := ownedApp{app.ID, fleet}
			c := o.apps[key]
			if c == nil {
				c = &ownedCount{seen: make(map[string][2]uint64)}
				o.apps[key] = c
			}
			if c.looked {
				continue // apps of one deployment group
			}
			c.looked = true
			o.look(app, fleet, c)
			set(appRequestsCounter, c.requests, app.ID, app.Owner, fleet)
			set(appErrorsCounter, c.errors, app.ID, app.Owner, fleet)
			set(appCrashedCounter, c.crashed, app.ID, app.Owner, fleet)
		}
	}
	for key, c := range o.apps {
		if !c.looked {
			delete(o.apps, key)
		}
		c.looked = false
	}
	set(appsLeftOutGauge, float64(max(0, len(all)-maxOwned)))
}

func (o *ownerCounts) look(app *collator.OwnedApp, fleet string, c *ownedCount) {
	for _, cluster := range app.Clusters {
		requests, errors := o.cluster(fleet, cluster)
		more, failed := c.add(cluster, requests, errors)
		c.requests, c.errors = c.requests+more, c.errors+failed
	}
	crashed, _ := c.add("", o.crashed(fleet, app.ID), 0)
	c.crashed += crashed
}
