package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var intervalOfSettings = regexp.MustCompile(`((?:\w+_)?(?:interval|wait)): (\d+)(s|m|h|w)\b`)

// divideIntervals makes all intervals of settings shorter, so that a test need not wait as long.
func divideIntervals(t *testing.T, settings string, by int) string {
	t.Helper()
	unit := map[string]int{"s": 1000, "m": 60_000, "h": 3_600_000, "w": 7 * 24 * 3_600_000}
	return intervalOfSettings.ReplaceAllStringFunc(settings, func(text string) string {
		m := intervalOfSettings.FindStringSubmatch(text)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s: %dms", m[1], n*unit[m[3]]/by)
	})
}

// Who is told what, by the settings in deploy and a real Alertmanager: the owner of an app is woken for it, and
// nobody else; what follows from something worse is not told; each of many Envoys is no incident of its own;
// PagerDuty takes each event, and one that it throttles comes again.
func TestAlertmanagerTellsTheRightPerson(t *testing.T) {
	t.Parallel()
	a := startAlertmanager(t, 50)
	a.pager.mu.Lock()
	a.pager.throttle = 2
	a.pager.mu.Unlock()
	edges := []alert{
		labelled("alertname=RelayEdgeDown", "severity=critical", "fleet=external", "envoy=edge-1"),
		labelled("alertname=RelayEdgeDown", "severity=critical", "fleet=external", "envoy=edge-2"),
	}
	follows := []alert{
		labelled("alertname=EnvoyDown", "severity=critical", "fleet=external", "envoy=edge-1", "instance=edge-1:9901"),
		labelled("alertname=RelayDeviceFails", "severity=critical", "fleet=external", "envoy=edge-2", "probe=imp"),
		labelled("alertname=RelayAppErrorsFast", "severity=critical", "fleet=dark", "app=/dark", "owner=shop"),
		labelled("alertname=RelayEdgeDown", "severity=critical", "fleet=dark", "envoy=edge-9"),
	}
	dark := labelled("alertname=RelayFleetDown", "severity=critical", "fleet=dark")
	shop := labelled("alertname=RelayAppErrorsFast", "severity=critical", "fleet=external", "app=/shop", "owner=shop")
	a.send(append(append(edges, follows...), dark, shop,
		labelled("alertname=RelayAppErrorsSlow", "severity=warning", "fleet=external", "app=/blog", "owner=shop"),
		labelled("alertname=RelayAppProbeFails", "severity=critical", "fleet=external", "app=/c", "owner=jo@example.com"),
		labelled("alertname=RelayAppProbeFails", "severity=critical", "fleet=external", "app=/d", "owner=stranger"),
		labelled("alertname=RelayEnvoyRejects", "severity=warning", "fleet=external"),
		labelled("alertname=RelayDomainByPlainHTTPOnly", "severity=info", "fleet=external"),
		labelled("alertname=RelayWatchdog", "severity=info"))...)
	eventually(t, "all are told", func() error {
		var missing []error
		for what, told := range map[string]bool{
			"the watchdog": a.told.beats() > 0, "shop's chat": a.told.chat("#shop", "app=/blog"), "shop's other chat": a.told.chat("#shop", "app=/shop"),
			"the chat of owners": a.told.chat("#apps", "owner=stranger"), "jo": a.told.mailTo("jo@example.com", "RelayAppProbeFails"),
			"the chat of the platform": a.told.chat("#platform", "RelayEnvoyRejects"), "mail": a.told.mailTo("platform@example.com", "RelayDomainByPlainHTTPOnly"),
		} {
			if !told {
				missing = append(missing, errors.New(what))
			}
		}
		if n := len(a.pager.all()); n < 3 {
			missing = append(missing, fmt.Errorf("%d incidents", n))
		}
		return errors.Join(missing...)
	})
	// Those that are over are resolved, and then nothing more than the three incidents was opened.
	var over []alert
	for _, one := range append(follows, append(edges, dark, shop)...) { // first what follows, or it would be told
		over = append(over, one.over())
	}
	a.send(over...)
	eventually(t, "all incidents are resolved", func() error {
		for _, i := range a.pager.all() {
			if i.resolved.IsZero() {
				return fmt.Errorf("%s is open", i.summary)
			}
		}
		return nil
	})
	a.checkIncidents()
	a.watchdogEnds()
}

// watchdogEnds checks that the watchdog calls again and again, until its alert is gone, as it is when Prometheus is: then
// it calls no more, however often others are told.
func (a *runningAlertmanager) watchdogEnds() {
	a.t.Helper()
	eventually(a.t, "the watchdog calls again", func() error {
		if n := a.told.beats(); n < 3 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	a.send(labelled("alertname=RelayWatchdog", "severity=info").over())
	var before int
	for i := range 10 { // each takes as long as group_interval, and the watchdog calls after four of them
		instance := fmt.Sprint("instance=relay-", i)
		a.send(labelled("alertname=RelayEnvoyRejects", "severity=warning", "fleet=external", instance))
		eventually(a.t, "another alert is told", func() error {
			if !a.told.chat("#platform", instance) {
				return errors.New(instance)
			}
			return nil
		})
		if i == 0 {
			before = a.told.beats()
		}
	}
	if after := a.told.beats(); after != before {
		a.t.Errorf("the watchdog has called %d times after its end", after-before)
	}
}

// checkIncidents compares the incidents with those that are to be.
func (a *runningAlertmanager) checkIncidents() {
	t := a.t
	t.Helper()
	wanted := map[string]string{
		"RelayEdgeDown (external)":                                                           a.platform,
		"alertname=RelayFleetDown severity=critical fleet=dark":                              a.platform,
		"alertname=RelayAppErrorsFast severity=critical fleet=external app=/shop owner=shop": a.shop,
	}
	for _, i := range a.pager.all() {
		service, known := wanted[i.summary]
		if !known || service != i.service {
			t.Errorf("an incident at %.1s: %s", i.service, i.summary)
		}
		if i.severity != "critical" || i.class == "" || i.details["runbook"] != "docs/runbook.md" || !strings.Contains(fmt.Sprint(i.details["firing"]), i.class) {
			t.Errorf("the incident is %+v", i)
		}
		delete(wanted, i.summary)
	}
	if len(wanted) > 0 {
		t.Errorf("no incidents for %v", wanted)
	}
}
