package traefik_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLabelsOfTraefik1(t *testing.T) {
	t.Parallel()
	const auth = "a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
	tests := []struct {
		name, labels string
		want         []string
		problems     []string
	}{
		{"host", "traefik.frontend.rule=Host:a.test, B.test", []string{"0 external,internal a.test,b.test [http]"}, nil},
		{"host and path", "traefik.frontend.rule=Host:a.test;PathPrefix:/x,/y", []string{"0 external,internal a.test /x /y [http]"}, nil},
		{"entry points", "traefik.frontend.rule=Host:a.test\ntraefik.frontend.entryPoints=http,https", []string{"0 external a.test"}, nil},
		{"port", "traefik.frontend.rule=Host:a.test\ntraefik.port=9090", []string{"1 external,internal a.test [http]"}, nil},
		{"port by index", "traefik.frontend.rule=Host:a.test\ntraefik.portIndex=1", []string{"1 external,internal a.test [http]"}, nil},
		{"segments", "traefik.web.frontend.rule=Host:a.test\ntraefik.web.port=8080\ntraefik.admin.frontend.rule=Host:b.test\ntraefik.admin.portIndex=1\ntraefik.admin.frontend.auth.basic=" + auth + "\ntraefik.frontend.entryPoints=https",
			[]string{"0 external a.test [https]", "1 external b.test [https]"}, nil},
		{"stripped prefix", "traefik.frontend.rule=Host:a.test;PathPrefixStrip:/x", []string{"0 external,internal a.test /x [http]"}, nil},
		{"added prefix", "traefik.frontend.rule=Host:a.test;AddPrefix:/x", []string{"0 external,internal a.test [http]"}, nil},
		{"methods and headers", "traefik.frontend.rule=Host:a.test;Method:GET,POST;Headers:X-A,1;Query:a=1", []string{"0 external,internal a.test [http :method~GET|POST x-a=1 a=1]"}, nil},
		{"pattern of hosts", "traefik.frontend.rule=HostRegexp:{any:.+}.a.test", []string{"0 external,internal *.a.test [http]"}, nil},
		{"redirect", "traefik.frontend.rule=Host:a.test\ntraefik.frontend.redirect.entryPoint=https\ntraefik.frontend.redirect.permanent=true", []string{"0 external,internal a.test [http] ->https"}, nil},
		{"networks", "traefik.frontend.rule=Host:a.test\ntraefik.frontend.whiteList.sourceRange=10.0.0.0/8", []string{"0 external,internal a.test from [10.0.0.0/8] [http]"}, nil},
		{"digest", "traefik.frontend.rule=Host:a.test\ntraefik.frontend.auth.digest.users=a:b:c", []string{"0 external,internal a.test [http] closed"}, []string{"digest"}},
		{"user in a header", "traefik.frontend.rule=Host:a.test\ntraefik.frontend.auth.basic=" + auth + "\ntraefik.frontend.auth.headerField=X-U", []string{"0 external,internal a.test [http] closed"}, []string{"user in a header"}},
		{"own domain", "traefik.domain=B.test", []string{"0 external,internal shop-web.b.test [http]"}, nil},
		{"own domain of a segment", "traefik.domain=b.test\ntraefik.x.portIndex=1", []string{"1 external,internal x.shop-web.b.test [http]"}, nil},
		{"own domain and a rule", "traefik.domain=b.test\ntraefik.frontend.rule=Host:a.test", []string{"0 external,internal a.test [http]"}, nil},
		{"bad own domain", "traefik.domain=b;c", nil, []string{"does not have", "no rule"}},
		{"allowed hosts", "traefik.frontend.rule=Host:a.test,b.test\ntraefik.frontend.headers.allowedHosts=A.test", []string{"0 external,internal a.test [http]", "0 external,internal b.test [http] closed"}, []string{"leaves out b.test"}},
		{"allowed hosts of a wildcard", "traefik.frontend.rule=HostRegexp:{any:.+}.a.test\ntraefik.frontend.headers.allowedHosts=x.a.test", []string{"0 external,internal *.a.test [http] closed"}, []string{"leaves out"}},
		{"all hosts allowed", "traefik.frontend.rule=Host:a.test,b.test\ntraefik.frontend.headers.allowedHosts=a.test,b.test,c.test", []string{"0 external,internal a.test,b.test [http]"}, nil},
		{"unknown function", "traefik.frontend.rule=Hosts:a.test", nil, []string{"does not have", "no rule"}},
		{"no rule", "traefik.port=8080", []string{"0 external,internal shop-web.default.test [http]"}, nil},
		{"not supported", "traefik.frontend.rule=Host:a.test\ntraefik.weight=10\ntraefik.frontend.passTLSCert=true\ntraefik.backend.loadbalancer.method=drr", []string{"0 external,internal a.test [http]"}, []string{"certificates", "same traefik.backend"}},
		{"both", "traefik.frontend.rule=Host:a.test\ntraefik.http.routers.r.rule=Host(`b.test`)", []string{"0 external,internal b.test [http]"}, []string{"Traefik 1 beside", "no effect"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app, of := read(options(t), parse(tt.labels))
			got := shown(app, of)
			for i := range got {
				got[i] = strings.Replace(got[i], " [http] from [10.0.0.0/8]", " from [10.0.0.0/8] [http]", 1)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
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

// Backslashes are doubled in labels of Traefik 1. Those that are not, which Traefik refuses, count as well.
func TestBackslashesOfTraefik1(t *testing.T) {
	t.Parallel()
	for _, slashes := range []string{`\`, `\\`} {
		app, _ := read(options(t), map[string]string{
			"traefik.frontend.rule":                          `Host:a.test;Path:/items/{id:` + slashes + `d+}`,
			"traefik.frontend.redirect.regex":                `^http://a` + slashes + `.test/old/(.*)`,
			"traefik.frontend.redirect.replacement":          "https://b.test/$1",
			"traefik.frontend.headers.customResponseHeaders": `X-A:say \"x\"`,
		})
		h := app.Ports[0].HTTP
		if len(app.Problems) > 0 || len(h.Paths) != 1 || h.Paths[0].Pattern != `/items/(?:\d+)` && h.Paths[0].Pattern != `/items/\d+` {
			t.Errorf("%s: paths %+v, problems %v", slashes, h.Paths, app.Problems)
		}
		if added := h.ResponseHeaders.Add; len(added) != 1 || added[0].Value != `say "x"` {
			t.Errorf("%s: headers %+v", slashes, added)
		}
		if s := h.Shaping; s == nil || len(s.Redirects) != 1 || s.Redirects[0].Host != `a\.test` {
			t.Errorf("%s: %+v", slashes, s)
		}
	}
}
