package monitoring

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/testdata/scenarios/scenario"
)

// watchdog is the receiver of the alert that fires always.
const watchdog = "watchdog"

func (m *parts) keys() []scenario.Key {
	set := func(do func(bool), value bool) func(*scenario.Run) error {
		return func(*scenario.Run) error { do(value); return nil }
	}
	slow, fails := func(on bool) { m.slow.Store(on) }, func(on bool) { m.fails.Store(on) }
	return []scenario.Key{
		{
			Key: 'e', Breaks: "stop the Envoy of the site west", Mends: "start the Envoy of the site west",
			Then:  "All that goes through west fails, nothing through east. The status page says degraded; platform-pager is told of RelayFleetDown.",
			Break: func(r *scenario.Run) error { r.StopEdge("west"); return nil }, Mend: func(r *scenario.Run) error { return r.StartEdge("west") },
		},
		{
			Key: 'a', Breaks: "black-hole the machine of the agents", Mends: "bring the machine of the agents back",
			Then:  "The device connects, but its message does not reach the agent: /probes says which step. Devices are down on the status page; platform-pager is told of RelayDeviceFails.",
			Break: set(m.agents.set, true), Mend: set(m.agents.set, false),
		},
		{
			Key: 's', Breaks: "slow the shop down: 2 s for an answer", Mends: "make the shop fast again",
			Then:  "RELAY_0_PROBE of the shop allows 1 s: its probes fail. The owner is woken (shop-pager, RelayAppProbeFails), and not the platform.",
			Break: set(slow, true), Mend: set(slow, false),
		},
		{
			Key: 'f', Breaks: "make the shop fail: status 500", Mends: "make the shop work again",
			Then:  "The owner is woken, and not the platform: by RelayAppErrorsFast, since requests of visitors fail, and by RelayAppProbeFails (shop-pager). The shop is down on the status page.",
			Break: set(fails, true), Mend: set(fails, false),
		},
		{
			Key: 'm', Breaks: "stop Marathon", Mends: "start Marathon",
			Then:  "All is served on, so probes and the status page say nothing. relay status does, and platform-pager is told of RelayMarathonLost.",
			Break: func(r *scenario.Run) error { r.Marathon.Down(); return nil }, Mend: func(r *scenario.Run) error { return r.Marathon.Up() },
		},
		{
			Key: 'c', Breaks: "let the certificate of the search run out in 50 s", Mends: "renew the certificate of the search",
			Then:  "Before it ends, platform-pager is told of RelayCertificateExpires. Then the probes of the search fail in the step tls.",
			Break: func(r *scenario.Run) error { return runOut(r, 50*time.Second) }, Mend: renew,
		},
		{
			Key: 'r', Breaks: "stop Relay", Mends: "start Relay",
			Then:  "Envoys serve on, and relay probe asks on: the status page stays as it is. Only Relay's own pages are away; platform-pager is told of RelayDown.",
			Break: func(r *scenario.Run) error { r.StopRelay(); return nil }, Mend: (*scenario.Run).StartRelay,
		},
		{
			Key: 'z', Breaks: "scale the search to no instance", Mends: "scale the search to one instance",
			Then:  "Somebody wants that, so it is not asked, and nobody is told.",
			Break: func(r *scenario.Run) error { return r.Scale(searchApp, 0) }, Mend: func(r *scenario.Run) error { return r.Scale(searchApp, 1) },
		},
		{Key: 'd', Breaks: "deploy the shop anew", Then: "Nothing may be seen of it: no probe fails, and nobody is told.", Break: func(r *scenario.Run) error { return r.Release(shopApp) }},
	}
}

// guide is what to look at.
func (m *parts) guide(r *scenario.Run) []string {
	lines := []string{
		"Two sites, east and west, have an Envoy each. Probes ask a shop, a search and a device with its agent through both, every 5 s, from",
		"within Relay and from a relay probe of its own. What changes is printed here: what is worse is public after 40 s at most, what is better",
		"after a minute in which all was well.",
		"LOOK AT",
		"  the public status page      http://" + m.page + "/",
		"  the page for operators      " + r.Admin() + "/, what probes found: " + r.Admin() + "/probes",
	}
	if m.alertmanager != "" {
		lines = append(lines,
			"  Alertmanager, Prometheus    http://"+m.alertmanager+"/, http://"+m.prometheus+"/alerts",
			"                              (the rules and routes of deploy/, but what they want to last for minutes lasts for 30 s here)")
	} else {
		lines = append(lines, "  (No alerts: there is no prometheus, or no prometheus-alertmanager. make programs installs both.)")
	}
	once := r.Relay() + " probe --once --relay " + r.Admin() + " --probe-file " + r.Path("probes-once.yaml")
	return append(lines,
		"TRY, in another terminal",
		"  what fails now              "+once,
		"  what is wrong               "+r.Relay()+" status --admin "+r.Admin(),
		"  tell the public             "+r.Relay()+" incident open \"Searching is slow\" --services Search --text \"We look into it.\" --admin "+r.Admin(),
	)
}

// look is what is seen from outside, in a line each.
func (m *parts) look(r *scenario.Run) []string {
	return []string{m.probesLine(r), m.pageLine(r)}
}

func (m *parts) probesLine(r *scenario.Run) string {
	found, err := m.found(r)
	if err != nil {
		return "probes:      no answer"
	}
	line := fmt.Sprintf("probes:      %d succeed", found.OK)
	if found.Skipped > 0 {
		line += fmt.Sprintf(", %d are not asked", found.Skipped)
	}
	for _, f := range failures(found.Probes) {
		line += fmt.Sprintf("; %s fails through %s: %s", f.name, strings.Join(f.sites, " and "), f.reason)
	}
	return line
}

func (m *parts) pageLine(r *scenario.Run) string {
	services, err := m.services(r)
	if err != nil {
		return "status page: no answer"
	}
	var states []string
	for _, s := range services {
		states = append(states, s.Name+" "+s.State)
	}
	return "status page: " + strings.Join(states, ", ")
}

// probed is what a place found.
type probed struct {
	OK, Failing, Skipped int
	Probes               []probe
}

type probe struct {
	Name, Fleet, Reason, Skipped string
	Success                      bool
	Time                         time.Time
}

// failure is what fails at some sites for the same reason.
type failure struct {
	name, reason string
	sites        []string
}

// failures are all, by name. Of one that takes too long, how long it took is that of the first site.
func failures(probes []probe) (all []failure) {
	for _, p := range probes {
		if p.Success || p.Skipped != "" {
			continue
		}
		same := slices.IndexFunc(all, func(f failure) bool {
			return f.name == p.Name && scenario.WithoutTimes(f.reason) == scenario.WithoutTimes(p.Reason)
		})
		if same < 0 {
			all = append(all, failure{p.Name, p.Reason, []string{p.Fleet}})
		} else {
			all[same].sites = append(all[same].sites, p.Fleet)
		}
	}
	for _, f := range all {
		slices.Sort(f.sites)
	}
	slices.SortFunc(all, func(a, b failure) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.reason, b.reason))
	})
	return all
}

// found is what relay probe has found.
func (m *parts) found(r *scenario.Run) (p probed, err error) {
	return p, r.Get("http://"+m.outside+"/api/v1/probes", &p)
}

type service struct{ Name, State string }

// services are those of the status page.
func (m *parts) services(r *scenario.Run) ([]service, error) {
	var view struct{ Services []service }
	err := r.Get("http://"+m.page+"/status.json", &view)
	return view.Services, err
}

// told says whom Alertmanager tells what, in place of PagerDuty, Slack and mail.
type told struct{ run *scenario.Run }

var firstBeat sync.Once

// ServeHTTP takes what a webhook of Alertmanager sends.
func (t told) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	var message struct {
		Status string
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	if json.NewDecoder(req.Body).Decode(&message) != nil {
		return
	}
	receiver := strings.TrimPrefix(req.URL.Path, "/")
	if receiver == watchdog {
		firstBeat.Do(func() { t.say(watchdog, "RelayWatchdog, and again every 2 minutes: it raises the alarm if that ends") })
		return
	}
	for _, a := range message.Alerts {
		over := ""
		if a.Status == "resolved" {
			over = "over: "
		}
		where := ""
		if fleet := a.Labels["fleet"]; fleet != "" {
			where = " (" + fleet + ")"
		}
		t.say(receiver, over+a.Labels["alertname"]+where+": "+a.Annotations["summary"])
	}
}

func (t told) say(receiver, what string) {
	t.run.Say("%s told:        %s: %s", time.Now().Format(time.TimeOnly), receiver, what)
}
