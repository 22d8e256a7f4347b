package envoy_test

import (
	"slices"
	"testing"

	"relay/collator/collatortest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
	"relay/sources/labels"
	"relay/sources/labels/traefik"
)

// FuzzTraefikRules holds that Envoy's messages can be made of whatever rule Traefik's labels have.
func FuzzTraefikRules(f *testing.F) {
	for _, rule := range []string{
		"Host(`a.test`) && (PathPrefix(`/x`) || !Method(`GET`)) && !Path(`/y/{a:[0-9]+}`)", "HostRegexp(`{a:[a-z]+}.b.test`) && Query(`a={b}`) && !Query(`c=1`)",
		"Host(`a.test`) && HeadersRegexp(`x`, `^a|b$`) && !ClientIP(`10.0.0.0/8`)", "Host:a.test;PathPrefixStrip:/x;Method:GET",
	} {
		f.Add(rule, "/x", "a", "^/y/(.*)")
	}
	fleet := collatortest.Fleet()
	o := &traefik.Options{EntryPoints: traefik.UsualEntryPoints(fleet.Name), ExposedByDefault: true}
	f.Fuzz(func(t *testing.T, rule, prefix, header, pattern string) {
		const r, m = "traefik.http.routers.r.", "traefik.http.middlewares.m."
		all := map[string]string{r + "rule": rule, r + "middlewares": "m", m + "stripprefix.prefixes": prefix, m + "headers.customresponseheaders." + header: prefix,
			m + "redirectregex.regex": pattern, m + "redirectregex.replacement": prefix, m + "headers.accesscontrolalloworiginlist": header, "traefik.frontend.rule": rule}
		ports := []labels.DeclaredPort{{Name: "http"}}
		said, _ := traefik.Read(labels.Read(all, ports), traefik.App{ID: "/a", Labels: all, Ports: []traefik.Port{{DeclaredPort: ports[0]}}}, o)
		byDomain := fleet.ClaimsOf(&sources.App{ID: "/a", Ports: said.Ports})
		for domain, claims := range byDomain {
			slices.SortFunc(claims, routing.CompareClaims)
			rules, _ := routing.RulesOf(claims)
			if err := envoy.CheckRules(&fleet, domain, rules); err != nil {
				t.Errorf("%s: %v", domain, err)
			}
		}
	})
}
