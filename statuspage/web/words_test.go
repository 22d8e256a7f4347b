package web

import (
	"strings"
	"testing"

	"relay/statuspage"
)

func services(states ...statuspage.State) (all []statuspage.Service) {
	for i, s := range states {
		all = append(all, statuspage.Service{Name: string(rune('A' + i)), State: s})
	}
	return all
}

func TestHeadline(t *testing.T) {
	t.Parallel()
	const up, slow, bad, unknown = statuspage.Up, statuspage.Degraded, statuspage.Down, statuspage.Unknown
	for _, tt := range []struct {
		services []statuspage.Service
		want     string
		state    statuspage.State
		named    string
	}{
		{nil, "No service is watched yet", unknown, ""},
		{services(up), "All services are operational", up, ""},
		{services(up, up), "All services are operational", up, ""},
		{services(up, unknown), "All services that could be checked are operational", up, "unknown B"},
		{services(unknown, "odd"), "The state of the services is not known", unknown, ""},
		{services(slow), "The service is degraded", slow, ""},
		{services(up, slow, up), "1 of 3 services is degraded", slow, "degraded B"},
		{services(slow, slow, up), "2 of 3 services are degraded", slow, "degraded A B"},
		{services(bad, slow, up, unknown), "1 of 4 services is down", bad, "down A; degraded B; unknown D"},
		{services(bad, bad), "All services are down", bad, ""},
		{services(bad, bad, bad, bad, bad, bad, up), "6 of 7 services are down", bad, "down A B C D +2"},
	} {
		var named []string
		for _, n := range namedOf(tt.services) {
			text := string(n.State) + " " + strings.Join(n.Names, " ")
			if n.More > 0 {
				text += " +" + string(rune('0'+n.More))
			}
			named = append(named, text)
		}
		if got := headline(tt.services); got != tt.want || worst(tt.services) != tt.state || strings.Join(named, "; ") != tt.named {
			t.Errorf("%v: %q, %s, %q; want %q, %s, %q", tt.services, got, worst(tt.services), named, tt.want, tt.state, tt.named)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		-1: "0 s", 0.4: "0 s", 59: "59 s", 60: "1 min", 3599: "1 h", 3600: "1 h", 5400: "1 h 30 min", 47 * 3600: "47 h", 48 * 3600: "2 days", 90*24*3600 + 3600: "90 days 1 h",
	} {
		if got := length(seconds); got != want {
			t.Errorf("%g s: %q, want %q", seconds, got, want)
		}
	}
	for uptime, want := range map[float64]string{1: "100 %", 0.99999: "99.99 %", 0.9995: "99.95 %", 0.5: "50 %", 0: "0 %", -3: "0 %", 7: "100 %"} {
		if got := share(&uptime); got != want {
			t.Errorf("%g: %q, want %q", uptime, got, want)
		}
	}
	if share(nil) != "" {
		t.Error("an uptime of nothing known")
	}
	if got := daysWords(days(map[int]statuspage.Day{1: down(60), 2: degraded(5), 3: {State: statuspage.Unknown}})); got != "The last 90 days: down on 1 day, degraded on 1 day, no trouble on 87 days, nothing known of 1 day." {
		t.Error(got)
	}
	if got := dayWords(statuspage.Day{State: statuspage.Down, Down: 320, Degraded: 7200}); got != "down for 5 min, degraded for 2 h" {
		t.Error(got)
	}
	if got := dayName("2026-13-01"); got != "2026-13-01" {
		t.Error(got)
	}
}

// Maintenance that was ended before it began was called off: it has no end before its begin.
func TestCalledOff(t *testing.T) {
	t.Parallel()
	v := wellView()
	off := v.Maintenance[0]
	off.State, off.End = "completed", now
	v.Maintenance, v.Incidents = nil, append(v.Incidents, off)
	files := rendered(t, v)
	for name, word := range map[string]string{"index.html": "Was", "incidents/20261202-db.html": "was"} {
		text := string(files[name].Body)
		if !strings.Contains(text, word+` planned for <time datetime="2026-12-02T22:00:00Z">2 Dec 2026, 22:00 UTC</time>`) || strings.Contains(text, "(0 s)") {
			t.Errorf("%s: %s", name, text)
		}
	}
}
