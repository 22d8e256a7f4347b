package traefik_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"relay/sources"
)

// What middlewares and services come to. Fields at their default are left out.
func TestHandling(t *testing.T) {
	t.Parallel()
	const m = "traefik.http.middlewares.m."
	tests := []struct{ name, labels, want, problem string }{
		{"headers", m + "headers.customrequestheaders.X-A=1\n" + m + "headers.customrequestheaders.X-B=\n" + m + "headers.framedeny=true\n" + m + "headers.stsseconds=60\n" + m + "headers.stsincludesubdomains=true",
			`RequestHeaders={"Add":[{"Name":"x-a","Value":"1"}],"Remove":["x-b"]} ResponseHeaders={"Add":[{"Name":"x-frame-options","Value":"DENY"},{"Name":"strict-transport-security","Value":"max-age=60; includeSubDomains"}],"Remove":null}`, ""},
		{"one prefix", m + "stripprefix.prefixes=/x", `Shaping={"PathRewrite":{"Pattern":"^/(?:x)/?","Substitution":"/"}}`, ""},
		{"prefix to add", m + "addprefix.prefix=/x/", `Shaping={"PathRewrite":{"Pattern":"^/","Substitution":"/x/"}}`, ""},
		{"two prefixes off and one on", m + "stripprefix.prefixes=/x,/y.z\n" + m + "addprefix.prefix=/n", `Shaping={"PathRewrite":{"Pattern":"^/(?:x|y\\.z)/?","Substitution":"/n/"}}`, ""},
		{"another path", m + "replacepath.path=/n", `Shaping={"PathRewrite":{"Pattern":"^/.*","Substitution":"/n"}}`, ""},
		{"another path by expression", m + "replacepathregex.regex=^/a/(.*)\n" + m + "replacepathregex.replacement=/b/$1", `Shaping={"PathRewrite":{"Pattern":"^/a/(.*)","Substitution":"/b/\\1"}}`, ""},
		{"bad expression", m + "replacepathregex.regex=^/a/((.*)\n" + m + "replacepathregex.replacement=/b/$1", "", "RE2"},
		{"limit", m + "ratelimit.average=10\n" + m + "ratelimit.burst=20", `RequestLimits={"PerClient":{"Requests":10,"Burst":20,"Per":1000000000}}`, ""},
		{"origins", m + "headers.accesscontrolalloworiginlist=https://b.test\n" + m + "headers.accesscontrolmaxage=60", `Shaping={"CORS":{"Origins":["https://b.test"],"MaxAge":60000000000}}`, ""},
		{"address outside", m + "forwardauth.address=https://sso.b.test/verify", "Closed=true", "AUTH_APP"},
		{"compression", m + "compress=true", `Shaping={"Compress":{}}`, ""},
		{"retries", m + "retry.attempts=3", `NumRetries=2`, ""},
		{"password", m + "basicauth.users=a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=,b:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/\n" + m + "basicauth.realm=x", `BasicAuth={"Realm":"x","User":"a","Hash":"REDACTED","More":[{"Name":"b","Hash":"REDACTED"}]}`, ""},
		{"password of nobody", m + "basicauth.users=a", `Closed=true`, "without a hash"},
		{"file of users", m + "basicauth.usersfile=/x\n" + m + "basicauth.users=a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", `Closed=true BasicAuth={"Realm":"traefik","User":"a","Hash":"REDACTED"}`, "file of users"},
		{"digest", m + "digestauth.users=a:b:c", "Closed=true", "digest"},
		{"plugin", m + "plugin.guard.x=1", "Closed=true", "does not know"},
		{"bad attempts", m + "retry.attempts=x", "", "attempts"},
		{"errors", m + "errors.status=500\n" + m + "errors.service=x", "", "pages"},
		{"redirect by expression", m + `redirectregex.regex=^https?://(www\.)?a\.test/old/(.*)` + "\n" + m + "redirectregex.replacement=https://b.test/new/${2}",
			`Shaping={"Redirects":[{"Host":"(www\\.)?a\\.test","Path":"/old/(.*)","Target":"https://b.test/new/\\2","Code":302}]}`, ""},
		{"redirect with the scheme", m + `redirectregex.regex=^(https?)://a\.test/(.*)` + "\n" + m + "redirectregex.replacement=$1://b.test/$2", "", "scheme"},
		{"sticky", "traefik.http.services.s.loadbalancer.sticky.cookie=true", "Sticky=true", ""},
		{"sticky by name", "traefik.http.services.s.loadbalancer.sticky.cookie.name=x", "Sticky=true", ""},
		{"not sticky", "traefik.http.services.s.loadbalancer.sticky.cookie=false", "", ""},
		{"host", "traefik.http.services.s.loadbalancer.passhostheader=false", `Shaping={"HostOfInstance":true}`, ""},
		{"host, mistyped", "traefik.http.services.s.loadbalancer.passhostheader=falsch", "", "write true or false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := parse(tt.labels)
			all["traefik.http.routers.r.rule"] = "Host(`a.test`)"
			if strings.Contains(tt.labels, ".middlewares.") {
				all["traefik.http.routers.r.middlewares"] = "m"
			}
			app, _ := read(options(t), all)
			h := *app.Ports[0].HTTP
			h.Match, h.Order = nil, 0
			if got := fields(t, h); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if text := fmt.Sprint(app.Problems); (tt.problem == "") != (len(app.Problems) == 0) || !strings.Contains(text, tt.problem) {
				t.Errorf("problems %s, want %q", text, tt.problem)
			}
			for l := range app.Shown.All() {
				if strings.Contains(l.Value, "{SHA}") || strings.Contains(l.Value, "$apr1") {
					t.Errorf("%s is shown: %s", l.Name, l.Value)
				}
			}
		})
	}
}

// fields are those that are not at their default.
func fields(t *testing.T, h sources.HTTP) string {
	t.Helper()
	var got []string
	for _, name := range []string{"Closed", "BasicAuth", "StripPrefix", "RequestHeaders", "ResponseHeaders", "Sticky", "NumRetries", "RetryOn", "Shaping", "RequestLimits"} {
		var values, zero map[string]json.RawMessage
		for _, one := range []struct {
			h    sources.HTTP
			into *map[string]json.RawMessage
		}{{h, &values}, {sources.HTTP{}, &zero}} {
			text, err := json.Marshal(one.h)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, one.into); err != nil {
				t.Fatal(err)
			}
		}
		if string(values[name]) != string(zero[name]) {
			got = append(got, name+"="+string(values[name]))
		}
	}
	return strings.Join(got, " ")
}

func FuzzRead(f *testing.F) {
	for _, rule := range []string{"Host(`a.test`) && (PathPrefix(`/x`) || !Method(`GET`))", "HostRegexp(`{a:[a-z]+}.b.test`)", "Host:a.test;PathPrefixStrip:/x", "!(((", "Query(`a={x:("} {
		f.Add("http.routers.r.rule", rule, "a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")
		f.Add("frontend.rule", rule, "10.0.0.0/8")
	}
	o := options(f)
	f.Fuzz(func(t *testing.T, key, value, more string) {
		app, of := read(o, map[string]string{"traefik." + key: value, "traefik.http.middlewares.m.headers.customrequestheaders.a": more, "traefik.http.routers.s.rule": value, "traefik.http.routers.s.middlewares": "m"})
		if len(app.Ports) != 3+len(of) {
			t.Fatalf("%d ports, of which %d are more than the three", len(app.Ports), len(of))
		}
		for _, p := range app.Ports {
			if p.HTTP == nil {
				continue
			}
			for _, m := range p.HTTP.Match {
				if len(m.Headers)+len(m.Query)+len(m.NotPaths) > sources.MaxMatchParts {
					t.Errorf("%d parts", len(m.Headers)+len(m.Query)+len(m.NotPaths))
				}
			}
		}
	})
}
