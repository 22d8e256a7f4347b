package collator

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// httpsChains returns the filter chains of a fleet's https listener, by name.
func httpsChains(t *testing.T, f *fleetState) map[string]*listenerv3.FilterChain {
	t.Helper()
	chains, passed := f.httpsParts()
	listener, err := envoy.HTTPSListener(&f.Fleet, chains, passed)
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*listenerv3.FilterChain)
	for _, chain := range listener.GetFilterChains() {
		byName[chain.GetName()] = chain
	}
	return byName
}

func chainLines(t *testing.T, f *fleetState) (lines []string) {
	t.Helper()
	for name, chain := range httpsChains(t, f) {
		lines = append(lines, fmt.Sprint(name, chain.GetFilterChainMatch().GetServerNames()))
	}
	slices.Sort(lines)
	return lines
}

func lasting(c *certs.Certificate, from, to time.Duration) *certs.Certificate {
	c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to)
	return c
}

// leftToWildcardSteps are what is served of www.shop.test as the clock goes on.
var leftToWildcardSteps = []struct {
	wait     time.Duration
	chains   []string
	secret   string // of www.shop.test
	problems []string
	touched  []string
}{
	{0, []string{"vault/else[else.test]", "vault/ends[shop.test www.shop.test]", "vault/zone[*.shop.test]"}, "vault/ends", nil, nil},
	{2*time.Hour + time.Second, []string{"vault/else[else.test]", "vault/ends[shop.test]", "vault/zone[*.shop.test]"}, "vault/zone",
		[]string{"vault/zone, which is valid until 2000-01-03, is served instead for www.shop.test"}, []string{`set listeners "https"`}},
	{time.Hour, []string{"vault/begins[www.shop.test]", "vault/else[else.test]", "vault/ends[shop.test]", "vault/zone[*.shop.test]"},
		"vault/begins", nil, []string{`set secrets "vault/begins"`, `set listeners "https"`}},
}

// While Relay runs, an exact name goes over to the wildcard when its certificate
// expires, and to its next one when that begins, by the clock alone. No other
// filter chain changes.
func TestNameIsLeftToAWildcardWhileRelayRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fleet := testFleet()
		fleet.CertificatesOnDemand = true
		c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
		c.now = time.Now
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Serve(ctx) }()
		c.SyncApps([]*sources.App{webApp("/shop", "www.shop.test", "api.shop.test")})
		c.SyncCertificates("vault", []*certs.Certificate{
			lasting(certificate("ends", "1", "www.shop.test", "shop.test"), -time.Hour, 2*time.Hour),
			lasting(certificate("begins", "2", "www.shop.test"), 3*time.Hour, 100*time.Hour),
			lasting(certificate("zone", "3", "*.shop.test"), -time.Hour, 50*time.Hour),
			lasting(certificate("else", "4", "else.test"), -time.Hour, 50*time.Hour),
		}, nil)
		synctest.Wait()
		before := httpsChains(t, c.fleets[0])
		r.Touched()
		for _, step := range leftToWildcardSteps {
			time.Sleep(step.wait)
			synctest.Wait()
			if diff := cmp.Diff(step.chains, chainLines(t, c.fleets[0])); diff != "" {
				t.Errorf("after %s: filter chains (-want +got):\n%s", step.wait, diff)
			}
			if diff := cmp.Diff(step.touched, r.Touched()); diff != "" {
				t.Errorf("after %s: published (-want +got):\n%s", step.wait, diff)
			}
			if got, _, _ := r.Resolve("www.shop.test"); got != step.secret {
				t.Errorf("after %s: on demand www.shop.test is answered by %s, want %s", step.wait, got, step.secret)
			}
			domains, _ := c.DomainsByCertificate()
			if !slices.Contains(domains[step.secret], "www.shop.test") {
				t.Errorf("after %s: domains by certificate %v, want www.shop.test for %s", step.wait, domains, step.secret)
			}
			if got := explained(c, "www.shop.test").Domains[0].HTTPS; got.Certificate.Secret != step.secret || len(got.Notes) > 0 {
				t.Errorf("after %s: explained by %+v, notes %q", step.wait, got.Certificate, got.Notes)
			}
			said := problemsWith(c, problem.Certificate, "served")
			if len(said) != len(step.problems) || len(said) > 0 && !strings.Contains(said[0], step.problems[0]) {
				t.Errorf("after %s: problems %q, want %q", step.wait, said, step.problems)
			}
		}
		after := httpsChains(t, c.fleets[0])
		for _, name := range []string{"vault/zone", "vault/else"} {
			if !proto.Equal(before[name], after[name]) {
				t.Errorf("the filter chain %s changed: its connections are closed", name)
			}
		}
		cancel()
		<-done
	})
}

// An exact name stays with its own certificate where the wildcard's cannot be
// served: in a fleet that is not given it, and while it is passed through.
func TestExactNameStaysWhereTheWildcardCannotBe(t *testing.T) {
	t.Parallel()
	inner := testFleet()
	inner.Name, inner.ServerNames = "internal", []string{"www.shop.test"}
	inner.HTTP, inner.HTTPS = netip.MustParseAddrPort("127.0.0.1:81"), netip.MustParseAddrPort("127.0.0.1:444")
	c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), inner}, CertificateSources: []string{"vault"}})
	expired := certificate("www", "1", "www.shop.test")
	expired.NotAfter = testTime.Add(-time.Hour)
	c.SyncCertificates("vault", []*certs.Certificate{expired, certificate("zone", "2", "*.shop.test")}, nil)
	app := webApp("/shop", "www.shop.test")
	app.Ports[0].Groups = []string{"external", "internal"}
	zone := passed("/zone", "*.shop.test")
	outer, own := c.fleets[0], c.fleets[1]
	check := func(step string, chains []string, secret string) {
		t.Helper()
		if diff := cmp.Diff(chains, chainLines(t, outer)); diff != "" {
			t.Errorf("%s: filter chains (-want +got):\n%s", step, diff)
		}
		if got := outer.coverage.picked["www.shop.test"].Secret; got != secret {
			t.Errorf("%s: www.shop.test is said to be served with %s, want %s", step, got, secret)
		}
		if got := explained(c, "www.shop.test").Domains[0].HTTPS.Certificate; got == nil || got.Secret != secret {
			t.Errorf("%s: www.shop.test is explained by %+v, want %s", step, got, secret)
		}
	}
	syncApps(c, app)
	check("at first", []string{"vault/zone[*.shop.test]"}, "vault/zone")
	updateApps(c, zone)
	check("the wildcard is passed through", []string{"service//zone_0[*.shop.test]", "vault/www[www.shop.test]"}, "vault/www")
	if diff := cmp.Diff([]string{"vault/www[www.shop.test]"}, chainLines(t, own)); diff != "" {
		t.Errorf("filter chains of the fleet with names (-want +got):\n%s", diff)
	}
	if names := own.publisher.(*recorder).Names(xds.Secret); !slices.Equal(names, []string{"vault/www"}) {
		t.Errorf("the fleet with names is given %v", names)
	}
	if said := problemsWith(c, problem.Certificate, "served all the same: nothing else covers www.shop.test in a fleet"); len(said) != 1 {
		t.Errorf("problems %q", c.Problems())
	}
	c.UpdateApps(nil, []string{"/zone"})
	c.round()
	check("no longer", []string{"vault/zone[*.shop.test]"}, "vault/zone")
}

// A certificate whose place another one takes is a problem as long as its name is
// a domain of an app.
func TestNameLeftToAWildcardIsAProblemWhileUsed(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault"}})
	expired := certificate("www", "1", "old.shop.test", "www.shop.test")
	expired.NotAfter = testTime.Add(-time.Hour)
	c.SyncCertificates("vault", []*certs.Certificate{expired, certificate("zone", "2", "*.shop.test")}, nil)
	for i, app := range []*sources.App{webApp("/web", "api.shop.test"), webApp("/web", "www.shop.test"), webApp("/web", "shop.test")} {
		syncApps(c, app)
		if got := problemsWith(c, problem.Certificate, "instead for www.shop.test"); len(got) != i%2 || c.problems.count(problem.Certificate) != i%2 {
			t.Errorf("step %d: %q", i, got)
		}
	}
}
