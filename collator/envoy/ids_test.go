package envoy_test

import (
	"fmt"
	"strings"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// agents is an app with several instances, whose requests are hashed. Slots go from 1.
func (e *realEnvoy) agents(id, domain string, hash sources.Hash, n int) *sources.App {
	return changed(webApp(id, domain), func(p *sources.Port) {
		p.HTTP, p.Upstream = &sources.HTTP{Hash: &hash}, &sources.Upstream{Balance: sources.BalanceHash}
		p.Endpoints = nil
		for i := range n {
			one := endpoints(e.backend(fmt.Sprint(id, "-", i+1)))[0]
			one.Slot = i + 1
			p.Endpoints = append(p.Endpoints, one)
		}
	})
}

// answeredBy returns which instance answers a request.
func (e *realEnvoy) answeredBy(t *testing.T, host, path string) string {
	t.Helper()
	a, err := e.send(t.Context(), request{host: host, path: path})
	if err != nil || a.status != 200 {
		t.Fatalf("%s%s: status %d, %v", host, path, a.status, err)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(a.body, "app "), "\n")
	return name
}

// What is the same id goes to the same instance, however the rest of the request is written.
func TestIDsAreFoundInRequests(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) { t.Parallel(); testIDs(t, version) })
	}
}

func testIDs(t *testing.T, version string) {
	e := startVersion(t, version)
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{
		e.agents("/path", "path.test", sources.Hash{By: sources.HashPathSegment, Segment: 2}, 6),
		e.agents("/deep", "deep.test", sources.Hash{By: sources.HashPathSegment, Segment: sources.MaxSegment}, 6),
		e.agents("/sub", "*.agents.test", sources.Hash{By: sources.HashSubdomain}, 6),
		changed(e.agents("/filtered", "*.filtered.test", sources.Hash{By: sources.HashSubdomain}, 6), func(p *sources.Port) { p.HTTP.LocationPrefix = "/x" }),
		e.agents("/named", "abc.named.test", sources.Hash{By: sources.HashSubdomain}, 6),
	})
	for _, host := range []string{"path.test", "deep.test", "abc.named.test"} {
		e.eventually(t, request{host: host, path: "/"}, status(200))
	}
	equal := func(host string, paths ...string) {
		t.Helper()
		first := e.answeredBy(t, host, paths[0])
		for _, path := range paths {
			for range 2 {
				if got := e.answeredBy(t, host, path); got != first {
					t.Errorf("%s%s goes to %s, %s to %s", host, path, got, paths[0], first)
				}
			}
		}
	}
	spread := func(what string, request func(i int) (host, path string)) {
		t.Helper()
		seen := make(map[string]bool)
		for i := range 80 {
			host, path := request(i)
			seen[e.answeredBy(t, host, path)] = true
		}
		if len(seen) != 6 {
			t.Errorf("%s go to %d of 6 instances", what, len(seen))
		}
	}
	for i := range 8 {
		id := fmt.Sprintf("id%d", i)
		equal("path.test", "/agents/"+id+"/x", "/agents/"+id, "/agents/"+id+"?a=1", "/agents/"+id+"/", "/agents/"+id+"/y/z?u=/q/r", "/other/"+id+"/x",
			"//agents/"+id+"/x", "/agents//"+id+"/x", "/agents///"+id, "/agents/"+id+"//x", "/a%2Fb/"+id+"/x")
		equal("deep.test", strings.Repeat("/s", sources.MaxSegment-1)+"/"+id+"/x", strings.Repeat("/t", sources.MaxSegment-1)+"/"+id)
	}
	equal("path.test", "/agents/a%2Fb/x", "/agents/a%2Fb")
	spread("ids", func(i int) (string, string) { return "path.test", fmt.Sprintf("/agents/id%d/x", i) })
	spread("ids that are encoded", func(i int) (string, string) { return "path.test", fmt.Sprintf("/agents/a%%2F%d/x", i) })
	spread("ids in the last segment that counts", func(i int) (string, string) {
		return "deep.test", strings.Repeat("/s", sources.MaxSegment-1) + fmt.Sprint("/", i)
	})
	spread("paths without an id", func(i int) (string, string) { return "path.test", fmt.Sprintf("/list?page=%d", i) })
	number := func(host string) string {
		t.Helper()
		_, n, _ := strings.Cut(e.answeredBy(t, host, "/x?y"), "-")
		return n
	}
	first := number("abc.named.test")
	same := func(hosts ...string) {
		t.Helper()
		for _, host := range hosts {
			if got := number(host); got != first {
				t.Errorf("%s goes to instance %s, abc.named.test to %s", host, got, first)
			}
		}
	}
	same("abc.named.test:80")
	if version < "1.38" {
		return // hosts below wildcard domains are not served
	}
	spread("subdomains", func(i int) (string, string) { return fmt.Sprintf("id%d.agents.test", i), "/" })
	same("abc.agents.test", "abc.agents.test:80", "abc.agents.test.", "abc.agents.test.:8443", "abc.deeper.agents.test", "abc.filtered.test")
	if version >= "1.40" { // expressions before cannot change case
		same("ABC.agents.test", "Abc.Agents.TEST:80", "ABC.named.test")
	}
}
