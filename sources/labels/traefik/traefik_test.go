package traefik_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
	"relay/sources/labels"
	"relay/sources/labels/traefik"
)

func options(t testing.TB) *traefik.Options {
	t.Helper()
	rule, err := traefik.ParseDefaultRule("Host(`{{ normalize .Name }}.default.test`)")
	if err != nil {
		t.Fatal(err)
	}
	points, err := traefik.ParseEntryPoints("web=external/http websecure=external/https http=external/http https=external/https inner=internal/http db=external/tcp/5432", []string{"external", "internal"})
	if err != nil {
		t.Fatal(err)
	}
	return &traefik.Options{EntryPoints: points, DefaultRule: rule, ExposedByDefault: true}
}

// read reads labels of an app with three ports.
func read(o *traefik.Options, all map[string]string) (labels.App, []int) {
	ports := []traefik.Port{
		{DeclaredPort: labels.DeclaredPort{Name: "http", ServicePort: 10000}, Numbers: []uint16{8080, 10000}},
		{DeclaredPort: labels.DeclaredPort{Name: "admin", ServicePort: 10001}, Numbers: []uint16{9090, 10001}},
		{DeclaredPort: labels.DeclaredPort{Name: "db", ServicePort: 10002}, Numbers: []uint16{5432, 10002}},
	}
	var declared []labels.DeclaredPort
	for _, p := range ports {
		declared = append(declared, p.DeclaredPort)
	}
	return traefik.Read(labels.Read(all, declared), traefik.App{ID: "/shop/web", Labels: all, Ports: ports}, o)
}

// Of an app with too many labels of Relay none is read, as one of them may keep people out. So its labels of
// Traefik open nothing either.
func TestTooManyLabelsOpenNothing(t *testing.T) {
	t.Parallel()
	all := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8", "traefik.http.routers.r.rule": "Host(`a.test`)"}
	for i := range sources.MaxSettings {
		all[fmt.Sprintf("RELAY_%d_TIMEOUT", i)] = "1s"
	}
	app, of := read(options(t), all)
	if len(of) > 0 {
		t.Errorf("%d more ports", len(of))
	}
	for i, port := range app.Ports {
		if len(port.Groups)+len(port.Domains) > 0 {
			t.Errorf("port %d is in %v with %v", i, port.Groups, port.Domains)
		}
	}
}

// Two middlewares of one kind, of which Relay can do one, keep everybody out; of two limits the first holds.
func TestTwoMiddlewaresOfOneKind(t *testing.T) {
	t.Parallel()
	const m = "traefik.http.middlewares."
	for name, test := range map[string]struct {
		labels, problem string
		closed          bool
	}{
		"passwords": {m + "one.basicauth.users=a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n" + m + "two.basicauth.users=b:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "asks for one", true},
		"apps":      {m + "one.forwardauth.address=http://a.marathon.mesos/\n" + m + "two.forwardauth.address=http://b.marathon.mesos/", "asks one", true},
		"rates":     {m + "one.ratelimit.average=1\n" + m + "two.ratelimit.average=1000", "which holds", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := parse(test.labels)
			all["traefik.http.routers.r.rule"], all["traefik.http.routers.r.middlewares"] = "Host(`a.test`)", "one,two"
			app, _ := read(options(t), all)
			h := app.Ports[0].HTTP
			if h.Closed != test.closed {
				t.Errorf("closed %t, want %t", h.Closed, test.closed)
			}
			if text := fmt.Sprint(app.Problems); !strings.Contains(text, test.problem) {
				t.Errorf("problems %s, want %q", text, test.problem)
			}
			if l := h.RequestLimits; l != nil && l.PerClient.Requests != 1 {
				t.Errorf("the second limit holds: %v", l.PerClient)
			}
		})
	}
}

// parse reads one "label=value" a line.
func parse(text string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[key] = value
		}
	}
	return all
}

// shown says in short what ports do.
func shown(app labels.App, of []int) (all []string) {
	for i, p := range app.Ports {
		if len(p.Groups) == 0 {
			continue
		}
		index := i
		if over := i - (len(app.Ports) - len(of)); over >= 0 {
			index = of[over]
		}
		line := fmt.Sprintf("%d %s %s", index, strings.Join(p.Groups, ","), strings.Join(p.Domains, ","))
		if p.TCP != nil {
			line += fmt.Sprintf(" tcp %d passthrough=%t tls=%t", p.TCP.Port, p.TCP.Passthrough, p.TCP.ServiceTLS != nil)
		}
		if h := p.HTTP; h != nil {
			for _, path := range h.Paths {
				line += " " + path.Prefix
				if path.Exact {
					line += "$"
				}
				if path.Pattern != "" {
					line += "~" + path.Pattern
				}
			}
			for _, m := range h.Match {
				line += " [" + matchText(m) + "]"
			}
			if len(h.AllowedNetworks) > 0 {
				line += fmt.Sprint(" from ", h.AllowedNetworks)
			}
			if h.Closed {
				line += " closed"
			}
		}
		if p.RedirectToHTTPS {
			line += " ->https"
		}
		all = append(all, line)
	}
	return all
}

func matchText(m sources.Match) string {
	var parts []string
	if m.Scheme != "" {
		parts = append(parts, m.Scheme)
	}
	for _, f := range append(m.Headers[:len(m.Headers):len(m.Headers)], m.Query...) {
		sign := "="
		if f.Regex {
			sign = "~"
		}
		if f.Not {
			sign = "!" + sign
		}
		parts = append(parts, f.Name+sign+f.Value)
	}
	for _, p := range m.NotPaths {
		parts = append(parts, "!"+p.Prefix)
	}
	return strings.Join(parts, " ")
}

func TestRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, want string // without the port and the fleet
		problem    string
	}{
		{"Host(`a.test`)", "a.test", ""},
		{"host(`A.Test`, \"b.test\")", "a.test,b.test", ""},
		{"Host(`a.test`) || Host(`b.test`)", "a.test,b.test", ""},
		{"Host(`a.test`) && PathPrefix(`/x`)", "a.test /x", ""},
		{"Host(`a.test`) && (PathPrefix(`/x`) || Path(`/y`))", "a.test /x /y$", ""},
		{"Host(`a.test`) && PathPrefix(`/x`) || Host(`b.test`) && PathPrefix(`/y`)", "a.test /x|b.test /y", ""},
		{"(Host(`a.test`) || Host(`b.test`)) && Path(`/a b`, `/ü`)", "a.test,b.test /a%20b$ /%C3%BC$", ""},
		{"Host(`a.test`) && PathPrefix(`/x`) && PathPrefix(`/x/y`)", "a.test /x/y", ""},
		{"Host(`a.test`) && PathPrefix(`/x`) && Path(`/z`)", "", "no request"},
		{"Host(`a.test`) && Host(`b.test`)", "", "no request"},
		{"Host(`a.test`) && Path(`/x/{id:[0-9]{2}}/y`)", "a.test /x/~/x/(?:[0-9]{2})/y", ""},
		{"Host(`a.test`) && PathPrefix(`/x/{id}`)", "a.test /x/~/x/(?:[^/]+).*", ""},
		{"Host(`a.test`) && PathPrefix(`/x/{id`)", "", "braces"},
		{"Host(`a.test`) && Method(`get`)", "a.test [:method=GET]", ""},
		{"Host(`a.test`) && Method(`GET`, `HEAD`)", "a.test [:method~GET|HEAD]", ""},
		{"Host(`a.test`) && !Method(`GET`)", "a.test [:method!=GET]", ""},
		{"Host(`a.test`) && (Method(`GET`) || Headers(`X-A`, `1`))", "a.test [:method=GET] [x-a=1]", ""},
		{"Host(`a.test`) && !(Method(`GET`) || Headers(`X-A`, ``))", "a.test [:method!=GET x-a!=]", ""},
		{"Host(`a.test`) && HeadersRegexp(`X-A`, `^1`)", "a.test [x-a~.*(?:^1).*]", ""},
		{"Host(`a.test`) && HeadersRegexp(`X-A`, `(`)", "", "no expression of RE2"},
		{"Host(`a.test`) && Query(`a=1`, `b=`)", "a.test [a=1 b=]", ""},
		{"Host(`a.test`) && !Query(`a=1`, `b=2`)", "a.test [a!=1] [b!=2]", ""},
		{"Host(`a.test`) && Query(`a={x:[0-9]+}`)", "a.test [a~(?:[0-9]+)]", ""},
		{"Host(`a.test`) && Query(`a`)", "", "name=value"},
		{"Host(`a.test`) && !PathPrefix(`/x`)", "a.test [!/x]", ""},
		{"Host(`a.test`) && ClientIP(`10.0.0.0/8`, `::1`)", "a.test from [10.0.0.0/8 ::1/128]", ""},
		{"Host(`a.test`) && !ClientIP(`128.0.0.0/1`) && !ClientIP(`::/0`)", "a.test from [0.0.0.0/1]", ""},
		{"Host(`a.test`) && ClientIP(`10.0.0.0/8`) && !ClientIP(`10.128.0.0/9`)", "a.test from [10.0.0.0/9]", ""},
		{"Host(`a.test`) && ClientIP(`x`)", "", "no address"},
		{"HostRegexp(`{any:.+}.a.test`)", "*.a.test", ""},
		{"HostRegexp(`{sub:[a-z]+}.a.test`)", `*.a.test [:authority~(?i)(?:(?:[a-z]+)\.a\.test)\.?(?::[0-9]+)?]`, ""},
		{"HostRegexp(`{sub}.a.test`) && Path(`/x`)", `*.a.test /x$ [:authority~(?i)(?:(?:[^.]+)\.a\.test)\.?(?::[0-9]+)?]`, ""},
		{"HostRegexp(`x{n:[0-9]}.a.test`)", `*.a.test [:authority~(?i)(?:x(?:[0-9])\.a\.test)\.?(?::[0-9]+)?]`, ""},
		{"HostRegexp(`{any:.*}`)", "", "domain"},
		{"HostRegexp(`{any:.*}test`)", "", "domain"},
		{"HostRegexp(`www.{d:.*}`)", "", "domain"},
		{"PathPrefix(`/x`)", "", "without Host"},
		{"!Host(`a.test`)", "", "without Host"},
		{"Host(`a.test`, `b.test`) && !Host(`b.test`)", "a.test", ""},
		{"Host(`*.a.test`)", "", "HostRegexp"},
		{"Host(a.test)", "", "backticks"},
		{"Host(`a.test`", "", "is no rule"},
		{"Host(`a.test`) + Host(`b.test`)", "", "no matcher"},
		{"HostSNI(`a.test`)", "", "not for HTTP"},
		{"Hosts(`a.test`)", "", "does not have"},
		{"Host()", "", "values"},
		{strings.Repeat("(Host(`a.test`) || Host(`b.test`)) && ", 10) + "Path(`/`)", "", "alternatives"},
		{"Host(`" + strings.Repeat("a", 5000) + "`)", "", "bytes"},
		{strings.Repeat("!", 4000) + "Host(`a.test`)", "a.test", ""},
	}
	for _, tt := range tests {
		t.Run(sources.Clip(tt.rule), func(t *testing.T) {
			t.Parallel()
			app, of := read(options(t), map[string]string{"traefik.http.routers.r.rule": tt.rule, "traefik.http.routers.r.entrypoints": "web,websecure"})
			var got []string
			for _, line := range shown(app, of) {
				got = append(got, strings.TrimPrefix(line, "0 external "))
			}
			if got := strings.Join(got, "|"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			text := fmt.Sprint(app.Problems)
			if (tt.problem == "") != (len(app.Problems) == 0) || !strings.Contains(text, tt.problem) {
				t.Errorf("problems %s, want %q", text, tt.problem)
			}
		})
	}
}

func TestRouters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, labels string
		want         []string
		problems     []string // parts, in order
	}{
		{"nothing", "", []string{"0 external,internal shop-web.default.test [http]"}, nil},
		{"disabled", "traefik.enable=false\ntraefik.http.routers.r.rule=Host(`a.test`)", nil, nil},
		{"enabled", "Traefik.Enable=TRUE", []string{"0 external,internal shop-web.default.test [http]"}, nil},
		{"unclear", "traefik.enable=perhaps", nil, []string{"neither true nor false"}},
		{"all entry points", "traefik.http.routers.r.rule=Host(`a.test`)", []string{"0 external,internal a.test [http]"}, nil},
		{"TLS", "traefik.http.routers.r.rule=Host(`a.test`)\ntraefik.http.routers.r.tls=true", []string{"0 external a.test [https]"}, nil},
		{"TLS by a resolver", "traefik.http.routers.r.rule=Host(`a.test`)\ntraefik.http.routers.r.tls.certresolver=le", []string{"0 external a.test [https]"}, nil},
		{"entry point", "traefik.http.routers.r.rule=Host(`a.test`)\ntraefik.http.routers.r.entryPoints=websecure", []string{"0 external a.test [https]"}, nil},
		{"no such entry point", "traefik.http.routers.r.rule=Host(`a.test`)\ntraefik.http.routers.r.entryPoints=x", nil, []string{"names the entry point"}},
		{"TLS without", "traefik.http.routers.r.rule=Host(`a.test`)\ntraefik.http.routers.r.entryPoints=web\ntraefik.http.routers.r.tls=true", nil, []string{"asks for TLS"}},
		{"names in any case", "traefik.HTTP.Routers.Web.Rule=Host(`a.test`)\ntraefik.http.routers.web.EntryPoints=WEB", []string{"0 external a.test [http]"}, nil},
		{"two routers", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.b.rule=Host(`b.test`)", []string{"0 external,internal a.test [http]", "0 external,internal b.test [http]"}, nil},
		{"ports", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.service=x\ntraefik.http.services.x.loadbalancer.server.port=9090\n" +
			"traefik.http.routers.b.rule=Host(`b.test`)\ntraefik.http.routers.b.service=y@marathon\ntraefik.http.services.y.loadbalancer.server.port=index:0\n" +
			"traefik.http.routers.c.rule=Host(`c.test`)\ntraefik.http.routers.c.service=z\ntraefik.http.services.z.loadbalancer.server.port=name:db",
			[]string{"0 external,internal b.test [http]", "1 external,internal a.test [http]", "2 external,internal c.test [http]"}, nil},
		{"no such port", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.services.x.loadbalancer.server.port=81", nil, []string{"declares no port 81"}},
		{"the only service", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.services.x.loadbalancer.server.port=9090", []string{"1 external,internal a.test [http]"}, nil},
		{"several services", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.services.x.loadbalancer.server.port=9090\ntraefik.http.services.y.loadbalancer.server.port=8080", nil,
			[]string{"several services"}},
		{"services and no router", "traefik.http.services.x.loadbalancer.server.port=9090", []string{"1 external,internal shop-web.default.test [http]"}, nil},
		{"service of another app", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.service=other", nil, []string{"no service of this app"}},
		{"service of Traefik", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.service=api@internal", nil, []string{"no app of Marathon"}},
		{"label of marathon-lb", "HAPROXY_GROUP=external\nHAPROXY_0_VHOST=lb.test\ntraefik.http.routers.a.rule=Host(`a.test`)", []string{"0 external lb.test", "1 external  tcp 10001 passthrough=false tls=false", "2 external  tcp 10002 passthrough=false tls=false"}, []string{"marathon-lb"}},
		{"group of marathon-lb", "HAPROXY_GROUP=lab\ntraefik.http.routers.a.rule=Host(`a.test`)", []string{"0 lab a.test [http]", "1 lab  tcp 10001 passthrough=false tls=false", "2 lab  tcp 10002 passthrough=false tls=false"}, nil},
		{"disabled by marathon-lb", "HAPROXY_0_ENABLED=false\ntraefik.http.routers.a.rule=Host(`a.test`)", nil, []string{"HAPROXY_0_ENABLED"}},
		{"unknown middleware", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.middlewares=auth@file", []string{"0 external,internal a.test [http] closed"}, []string{"in no label"}},
		{"options of TLS", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.tls.options=mtls@file", []string{"0 external a.test [https] closed"}, []string{"certificates"}},
		{"redirect", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.middlewares=s\ntraefik.http.middlewares.s.redirectscheme.scheme=https\ntraefik.http.middlewares.s.redirectscheme.permanent=true",
			[]string{"0 external,internal a.test [http] ->https"}, nil},
		{"networks", "traefik.http.routers.a.rule=Host(`a.test`) && ClientIP(`10.0.0.0/8`)\ntraefik.http.routers.a.middlewares=c\ntraefik.http.middlewares.c.chain.middlewares=w\ntraefik.http.middlewares.w.ipallowlist.sourcerange=10.1.0.0/16, 192.0.2.0/24",
			[]string{"0 external,internal a.test [http] from [10.1.0.0/16]"}, nil},
		{"bad networks", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.middlewares=w\ntraefik.http.middlewares.w.ipwhitelist.sourcerange=x", []string{"0 external,internal a.test [http] closed"}, []string{"no address"}},
		{"rule that cannot be had, with a password", "traefik.http.routers.a.rule=Host(`a.test`) && PathPrefix(`/x`) && HeadersRegexp(`a`, `(`)\ntraefik.http.routers.a.middlewares=p\ntraefik.http.middlewares.p.basicauth.users=a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
			[]string{"0 external,internal a.test /x [http] closed"}, []string{"keeps clients out"}},
		{"chain without end", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.routers.a.middlewares=c\ntraefik.http.middlewares.c.chain.middlewares=c", []string{"0 external,internal a.test [http] closed"}, []string{"without end"}},
		{"not used", "traefik.http.routers.a.rule=Host(`a.test`)\ntraefik.http.middlewares.w.compress=true\ntraefik.x=1", []string{"0 external,internal a.test [http]"}, []string{"no effect", "no effect"}},
		{"UDP", "traefik.udp.routers.a.entrypoints=x", nil, []string{"UDP"}},
		{"passthrough", "traefik.tcp.routers.a.rule=HostSNI(`a.test`)\ntraefik.tcp.routers.a.tls.passthrough=true\ntraefik.tcp.routers.a.entrypoints=websecure", []string{"0 external a.test tcp 0 passthrough=true tls=false"}, nil},
		{"TCP", "traefik.tcp.routers.a.rule=HostSNI(`*`)\ntraefik.tcp.routers.a.entrypoints=db\ntraefik.tcp.services.a.loadbalancer.server.port=5432", []string{"2 external  tcp 5432 passthrough=false tls=false"}, nil},
		{"TCP with TLS", "traefik.tcp.routers.a.rule=HostSNI(`a.test`)\ntraefik.tcp.routers.a.entrypoints=db\ntraefik.tcp.routers.a.tls=true\ntraefik.tcp.services.a.loadbalancer.server.port=5432", []string{"2 external a.test tcp 5432 passthrough=false tls=true"}, nil},
		{"TCP at an entry point for HTTP", "traefik.tcp.routers.a.rule=HostSNI(`*`)\ntraefik.tcp.routers.a.entrypoints=web", nil, []string{"no entry point for TCP"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app, of := read(options(t), parse(tt.labels))
			if diff := cmp.Diff(tt.want, shown(app, of)); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			if len(app.Problems) != len(tt.problems) {
				t.Fatalf("problems %v, want %d", app.Problems, len(tt.problems))
			}
			for i, p := range app.Problems {
				if !strings.Contains(p.Reason, tt.problems[i]) {
					t.Errorf("problem %q, want %q", p.Reason, tt.problems[i])
				}
			}
		})
	}
}

// Without options, and for apps of which the constraints do not hold, nothing is read.
func TestNotRead(t *testing.T) {
	t.Parallel()
	all := map[string]string{"traefik.http.routers.r.rule": "Host(`a.test`)", "edge": "public"}
	if app, of := read(nil, all); shown(app, of) != nil || len(app.Problems) > 0 {
		t.Errorf("%v is routed without options, problems %v", shown(app, of), app.Problems)
	}
	wrong, _ := read(options(t), map[string]string{"traefik.http.routers.r.rule": "Foo(`a.test`)"})
	if len(wrong.Problems) != 1 || !strings.Contains(wrong.Problems[0].Action, "docs/traefik.md") {
		t.Errorf("of a wrong rule: %+v", wrong.Problems)
	}
	for expression, want := range map[string]bool{
		"": true, "Label(`edge`, `public`)": true, "Label(`edge`, `inner`)": false, "!Label(`edge`, `inner`)": true, "LabelRegexp(`edge`, `^pub`) && Label(`edge`, `inner`)": false,
		"(LabelRegexp(`edge`, `^pub`) || Label(`edge`, `inner`))": true, "LabelRegexp(`none`, `.*`)": false,
	} {
		o := options(t)
		var err error
		if o.Constraints, err = traefik.ParseConstraints(expression); err != nil {
			t.Fatal(err)
		}
		if app, of := read(o, all); (len(shown(app, of)) > 0) != want {
			t.Errorf("%s: %v is routed", expression, shown(app, of))
		}
	}
	for _, wrong := range []string{"Tag(`a`)", "Label(`a`)", "Label(a, b)", "Label(`a`,", "-Label(`a`, `b`)", "LabelRegexp(`a`, `(`)"} {
		if _, err := traefik.ParseConstraints(wrong); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

func TestEntryPoints(t *testing.T) {
	t.Parallel()
	one, err := traefik.ParseEntryPoints("web=http, websecure=external/https", []string{"external"})
	if want := (map[string]traefik.EntryPoint{"web": {Fleet: "external", Scheme: "http"}, "websecure": {Fleet: "external", Scheme: "https"}}); err != nil || !cmp.Equal(one, want) {
		t.Errorf("%v, %v", one, err)
	}
	for _, wrong := range []string{"web", "=http", "web=none/http", "web=external", "web=external/udp", "web=external/tcp", "web=external/tcp/0", "web=external/http web=external/http"} {
		if _, err := traefik.ParseEntryPoints(wrong, []string{"external"}); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
	if _, err := traefik.ParseEntryPoints("web=http", []string{"a", "b"}); err == nil {
		t.Error("a fleet is left out of several")
	}
}

// Domains for which marathon-acme gets certificates stay those of their port.
func TestACMEDomains(t *testing.T) {
	t.Parallel()
	app, _ := read(options(t), map[string]string{"MARATHON_ACME_0_DOMAIN": "a.test", "traefik.http.routers.r.rule": "Host(`a.test`)", "traefik.http.routers.s.rule": "Host(`b.test`)"})
	if got := app.Ports[0].ACMEDomains; len(got) != 1 || got[0] != "a.test" || len(app.Ports) != 4 || app.Ports[3].ACMEDomains != nil {
		t.Errorf("got %v, %d ports", got, len(app.Ports))
	}
}

// Whoever looks for a domain of a router that is not routed finds the reason.
func TestUnrouted(t *testing.T) {
	t.Parallel()
	app, _ := read(options(t), map[string]string{"traefik.http.routers.r.rule": "Host(`a.test`)", "traefik.http.routers.r.entrypoints": "none"})
	if len(app.Unrouted) != 1 || app.Unrouted[0].Domain != "a.test" || !strings.Contains(app.Unrouted[0].Reason, "entry point") {
		t.Errorf("got %v", app.Unrouted)
	}
}
