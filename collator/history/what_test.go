package history

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relay/internal/problem"
	"relay/internal/secret"
	"relay/sources"
)

func endpoint(address string, change ...func(*sources.Endpoint)) sources.Endpoint {
	e := sources.Endpoint{Address: netip.MustParseAddrPort(address), Task: "task-" + address}
	for _, c := range change {
		c(&e)
	}
	return e
}

func draining(e *sources.Endpoint) { e.Health = sources.Draining }

func TestWhat(t *testing.T) {
	t.Parallel()
	app := func(change func(*sources.App)) *sources.App {
		a := &sources.App{ID: "/shop/web", Version: "1", Ports: []sources.Port{{
			Groups: []string{"external"}, Domains: []string{"a.test"}, Endpoints: []sources.Endpoint{endpoint("10.0.0.1:31000"), endpoint("10.0.0.2:31001")},
		}}}
		change(a)
		return a
	}
	port := func(change func(*sources.Port)) *sources.App {
		return app(func(a *sources.App) { change(&a.Ports[0]) })
	}
	same := func(*sources.App) {}
	for _, tt := range []struct {
		name          string
		before, after *sources.App
		want          string
	}{
		{"nothing", app(same), app(same), ""},
		{"no app", nil, nil, ""},
		{"what is not routed", app(same), app(func(a *sources.App) {
			a.Version, a.Problems = "2", []problem.Problem{{Reason: "odd"}}
			a.Ports[0].Excluded = []sources.Excluded{{Task: "t", Reason: "starts"}}
		}), ""},
		{"new", nil, app(same), "new app|domain a.test added|port 0: of fleet external|port 0: +10.0.0.1:31000 +10.0.0.2:31001"},
		{"new, with settings", nil, port(func(p *sources.Port) {
			p.RedirectToHTTPS, p.Endpoints = true, nil
			p.HTTP = &sources.HTTP{Order: 7, ClusterWeight: new(uint32(3)), Service: "s", BasicAuth: &sources.BasicAuth{User: "u"}}
		}), "new app|domain a.test added|port 0: of fleet external|port 0: with redirect to https, password"},
		{"new, with an order alone", nil, port(func(p *sources.Port) { p.Endpoints, p.HTTP = nil, &sources.HTTP{Order: 7} }), "new app|domain a.test added|port 0: of fleet external"},
		{"new, of TCP", nil, &sources.App{Ports: []sources.Port{{TCP: &sources.TCP{Port: 5432}}, {TCP: &sources.TCP{Port: 10001, Implicit: true}}}},
			"new app|port 0: TCP port 5432 added|port 1: with TCP mode"},
		{"removed, with settings", port(func(p *sources.Port) { p.Endpoints, p.HTTP = nil, &sources.HTTP{Order: 7, HSTS: true} }), nil,
			"app removed|domain a.test removed|port 0: of fleet external no more"},
		{"removed", app(same), nil, "app removed|domain a.test removed|port 0: of fleet external no more|port 0: -10.0.0.1:31000 -10.0.0.2:31001"},
		{"another endpoint", app(same), port(func(p *sources.Port) { p.Endpoints[1] = endpoint("10.0.0.3:1") }), "port 0: +10.0.0.3:1 -10.0.0.2:31001"},
		{"health", app(same), port(func(p *sources.Port) { draining(&p.Endpoints[0]) }), "port 0: 10.0.0.1:31000 draining, was healthy"},
		{"a draining one comes", app(same), port(func(p *sources.Port) { p.Endpoints[1] = endpoint("10.0.0.3:1", draining) }), "port 0: +10.0.0.3:1 (draining) -10.0.0.2:31001"},
		{"another task", app(same), port(func(p *sources.Port) { p.Endpoints[0].Task = "other" }), "port 0: 10.0.0.1:31000 of another task"},
		{"connections end", app(same), port(func(p *sources.Port) { p.Endpoints[0].Shed = sources.Shed{Percent: 1, Before: 1} }), "port 0: some connections of 10.0.0.1:31000 end, as it has more than its share"},
		{"another zone", app(same), port(func(p *sources.Port) { p.Endpoints[0].Zone = "b" }), "port 0: 10.0.0.1:31000 in another zone"},
		{"domains", app(same), port(func(p *sources.Port) { p.Domains = []string{"b.test"} }), "domain b.test added|domain a.test removed"},
		{"scaled to 0", app(same), app(func(a *sources.App) { a.Stopped, a.Ports[0].Endpoints = true, nil }), "scaled to 0|port 0: -10.0.0.1:31000 -10.0.0.2:31001"},
		{"maintenance", app(same), app(func(a *sources.App) { a.Maintenance = true }), "in maintenance"},
		{"after maintenance", app(func(a *sources.App) { a.Maintenance = true }), app(same), "not in maintenance any more"},
		{"scaled up", app(func(a *sources.App) { a.Stopped = true }), app(same), "not scaled to 0 any more"},
		{"settings, in a new definition", app(same), app(func(a *sources.App) {
			a.Version = "2"
			a.Ports[0].HTTP = &sources.HTTP{BasicAuth: &sources.BasicAuth{User: "u", Hash: "{SHA}hidden"}, HSTS: true}
			a.Ports[0].Upstream = &sources.Upstream{HTTP2: true}
		}), "new definition 2|port 0: password, HSTS, HTTP/2 to instances changed"},
		{"another mode", app(same), port(func(p *sources.Port) { p.TCP = &sources.TCP{Port: 5432} }), "port 0: TCP port changed"},
		{"a port more", app(same), app(func(a *sources.App) { a.Ports = append(a.Ports, sources.Port{Domains: []string{"c.test"}}) }), "domain c.test added"},
		{"a deployment group", app(same), app(func(a *sources.App) { a.Deployment = &sources.Deployment{Group: "g"} }), "joins the deployment group g"},
	} {
		if got := strings.Join(What(tt.before, tt.after), "|"); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// Whatever an app has, the words about it are few, and no value of a setting is among them.
func TestWhatIsBounded(t *testing.T) {
	t.Parallel()
	big := &sources.App{ID: "/a", Version: strings.Repeat("v", 1000)}
	for i := range 200 {
		p := sources.Port{HTTP: &sources.HTTP{
			BasicAuth:      &sources.BasicAuth{Hash: secret.String("hunter2")},
			RequestHeaders: sources.HeaderEdits{Add: []sources.Header{{Name: "authorization", Value: "hunter2"}}},
			RootRedirect:   "hunter2",
		}}
		for j := range 100 {
			p.Domains = append(p.Domains, fmt.Sprintf("%s-%d-%d.test", strings.Repeat("a", 200), i, j))
			p.Endpoints = append(p.Endpoints, endpoint(fmt.Sprintf("10.0.%d.%d:80", i, j)))
		}
		big.Ports = append(big.Ports, p)
	}
	for _, lines := range [][]string{What(nil, big), What(big, nil), What(&sources.App{ID: "/a", Version: "0"}, big)} {
		text := strings.Join(lines, "\n")
		if len(lines) > maxWhat+1 || len(text) > (maxWhat+1)*(maxText+4) || strings.Contains(text, "hunter2") || !strings.Contains(text, "more") {
			t.Errorf("%d lines of %d bytes: %.300s", len(lines), len(text), text)
		}
	}
	if lines := What(&sources.App{ID: "/a"}, &sources.App{ID: "/a", Ports: []sources.Port{{HTTP: big.Ports[0].HTTP}}}); !slices.Equal(lines, []string{"port 0: with password, redirect of the root, request headers"}) {
		t.Errorf("settings: %q", lines)
	}
	limited := sources.Port{HTTP: &sources.HTTP{SignOn: &sources.SignOn{JWT: &sources.JWT{Issuer: "i"}}, Shaping: &sources.Shaping{Host: "h", Compress: &sources.Compress{}}}}
	if lines := What(&sources.App{ID: "/a", Ports: []sources.Port{limited}}, &sources.App{ID: "/a", Ports: []sources.Port{{}}}); !slices.Equal(lines, []string{"port 0: tokens, rewriting of the host, compression changed"}) {
		t.Errorf("settings of groups: %q", lines)
	}
}

// Every setting has words.
func TestSettingWords(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, s := range []any{sources.HTTP{}, sources.Upstream{}, sources.TCP{}, sources.SignOn{}, sources.RequestLimits{}, sources.Shaping{}} {
		for i := range reflect.TypeOf(s).NumField() {
			name := reflect.TypeOf(s).Field(i).Name
			if slices.Contains(settingGroups, name) {
				continue // it has words for each of its own
			}
			if seen++; settingWords[name] == "" {
				t.Errorf("say in settingWords what %s is", name)
			}
		}
	}
	if seen != len(settingWords) {
		t.Errorf("%d settings, and words for %d", seen, len(settingWords))
	}
}

// A larger share of the same connections is nothing to tell; that some end, or no more, is.
func TestOnlySheds(t *testing.T) {
	t.Parallel()
	app := func(percent float64, change func(*sources.App)) *sources.App {
		a := &sources.App{ID: "/imp", Ports: []sources.Port{{Endpoints: []sources.Endpoint{{Task: "a", Shed: sources.Shed{Percent: percent}}, {Task: "b"}}}}}
		if change != nil {
			change(a)
		}
		return a
	}
	for _, tt := range []struct {
		name          string
		before, after *sources.App
		want          bool
	}{
		{"more", app(1, nil), app(2, nil), true},
		{"begins", app(0, nil), app(2, nil), false},
		{"ends", app(2, nil), app(0, nil), false},
		{"another task", app(1, nil), app(2, func(a *sources.App) { a.Ports[0].Endpoints[0].Task = "c" }), false},
		{"one endpoint fewer", app(1, nil), app(2, func(a *sources.App) { a.Ports[0].Endpoints = a.Ports[0].Endpoints[:1] }), false},
		{"one port fewer", app(1, nil), app(2, func(a *sources.App) { a.Ports = nil }), false},
		{"another setting", app(1, nil), app(2, func(a *sources.App) { a.Ports[0].TCP = &sources.TCP{} }), false},
		{"new", nil, app(1, nil), false}, {"removed", app(1, nil), nil, false},
	} {
		if got := OnlySheds(tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}
