// Package monitoring is a platform of two sites that is watched from outside: probes ask through both Envoys as users and devices
// do, a status page tells the public, and alerts wake whoever can mend it.
package monitoring

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var apps []byte

const (
	shopApp, searchApp, devicesApp, agentsApp = "/shop", "/search", "/devices", "/agents"
	shopDomain, searchDomain                  = "shop.monitoring.test", "search.monitoring.test"
	device                                    = "device-1"
	// asked is how many probes there are: the shop, the search and the device, at each site.
	asked = 6
)

// New returns the scenario.
func New() *scenario.Scenario {
	m := &parts{system: &system{figures: scenario.NewFigures()}}
	s := &scenario.Scenario{
		Name: "monitoring", Title: "a platform of two sites that is watched from outside",
		Figures: m.figures, Apps: apps, Ports: []string{"devices"}, Edges: []string{"east", "west"},
		Certificates: [][]string{{shopDomain}, {searchDomain}, {"devices.monitoring.test"}, {"agents.monitoring.test"}},
		Programs:     map[string]marathontest.Program{shopApp: m.shop, searchApp: m.search, devicesApp: m.connections, agentsApp: m.agentsServer},
		Live:         m.live, Story: m.story, Keys: m.keys(), Guide: m.guide, Look: m.look,
	}
	s.Prepare = func(r *scenario.Run) { r.Must(m.prepare(s, r)) }
	return s
}

// live starts what watches, and has visitors come to the shop.
func (m *parts) live(r *scenario.Run) {
	r.Must(m.startProbe(r))
	m.allWell(r)
	r.Must(m.startAlerts(r))
	client := r.Client()
	r.Go(func(ctx context.Context) {
		for scenario.Pause(ctx, 100*time.Millisecond) {
			r.Go(func(ctx context.Context) { _, _ = r.Ask(ctx, client, "GET", "https://"+shopDomain+"/", "") })
		}
	})
}

func (m *parts) story(r *scenario.Run) {
	r.Must(m.startProbe(r))
	r.Step("a shop, a search and a device with its agent work through both sites, and the public reads that")
	m.allWell(r)

	r.Step("the Envoy of west is stopped: all that goes through it fails, and nothing that goes through east")
	r.StopEdge("west")
	m.fail(r, "west", "refused", shopDomain, searchDomain, device)
	r.Must(r.StartEdge("west"))

	r.Step("the machine of the agents is a black hole: the device connects, and does not reach its agent")
	m.agents.set(true)
	m.fail(r, "", "message to the agent: ", device)
	m.agents.set(false)

	r.Step("the shop is slow, and then fails: it alone is named, with what was seen")
	m.slow.Store(true)
	m.fail(r, "", "and should take 1s at most", shopDomain)
	m.slow.Store(false)
	m.fails.Store(true)
	m.fail(r, "", "the status is 500", shopDomain)
	m.fails.Store(false)

	r.Step("a certificate runs out: clients of its domain are refused, and the reason says so")
	r.Must(runOut(r, time.Second))
	m.fail(r, "", "expired", searchDomain)
	r.Must(renew(r))
	m.fail(r, "", "")

	m.quiet(r)
}

// quiet is what users do not notice: no probe fails.
func (m *parts) quiet(r *scenario.Run) {
	r.Step("a release, no instance of the search, Marathon and Relay away: no user notices, and no probe fails")
	r.Must(r.Release(shopApp))
	m.fail(r, "", "")
	r.Must(r.Scale(searchApp, 0))
	r.Eventually("the search is not asked", func() error {
		found, err := m.ask(r)
		if err == nil && (found.Failing != 0 || found.OK != asked-2) {
			err = fmt.Errorf("%+v", found)
		}
		return err
	})
	r.Must(r.Scale(searchApp, 1))
	m.fail(r, "", "")
	r.Marathon.Down()
	m.fail(r, "", "")
	gone := time.Now()
	r.StopRelay()
	r.Eventually("relay probe asks all again", func() error {
		found, err := m.found(r)
		if err == nil && (found.Failing != 0 || slices.ContainsFunc(found.Probes, func(p probe) bool { return p.Time.Before(gone) })) {
			err = fmt.Errorf("%+v", found)
		}
		return err
	})
	services, err := m.services(r)
	r.Check(err == nil && !slices.ContainsFunc(services, func(s service) bool { return s.State != "up" }), "the status page: %+v, %v", services, err)
}

// allWell waits until all is asked, succeeds, and is up for the public.
func (m *parts) allWell(r *scenario.Run) {
	r.Eventually("all probes succeed", func() error {
		found, err := m.found(r)
		if err == nil && (found.OK != asked || found.Failing != 0) {
			err = fmt.Errorf("%+v", found)
		}
		return err
	})
	r.Eventually("the public reads that all is up", func() error {
		services, err := m.services(r)
		if err == nil && (len(services) != 3 || slices.ContainsFunc(services, func(s service) bool { return s.State != "up" })) {
			err = fmt.Errorf("%+v", services)
		}
		return err
	})
}

// ask has relay probe ask each target once.
func (m *parts) ask(r *scenario.Run) (p probed, err error) {
	out, status, err := r.Command("probe", "--once", "--relay", r.Admin(), "--probe-file", r.Path("probes-once.yaml"), "-o", "json")
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		return p, fmt.Errorf("relay probe --once ended with %d: %s", status, out)
	}
	if (status == 0) != (p.Failing == 0) {
		err = fmt.Errorf("%d fail, and relay probe --once ends with %d", p.Failing, status)
	}
	return p, err
}

// fail waits until just these fail, through one site or all, for a reason.
func (m *parts) fail(r *scenario.Run, site, reason string, names ...string) {
	r.Eventually(fmt.Sprintf("just these to fail: %q", names), func() error {
		found, err := m.ask(r)
		if err != nil {
			return err
		}
		if found.OK+found.Failing != asked {
			err = fmt.Errorf("%d are asked", found.OK+found.Failing)
		}
		for _, p := range found.Probes {
			fails := slices.Contains(names, p.Name) && (site == "" || p.Fleet == site)
			if p.Success == fails || fails && !strings.Contains(p.Reason, reason) {
				err = errors.Join(err, fmt.Errorf("%s in %s: %v, %s", p.Name, p.Fleet, p.Success, p.Reason))
			}
		}
		return err
	})
}
