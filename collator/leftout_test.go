package collator

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// manyHeaders are more than a route can have.
func manyHeaders() sources.HeaderEdits {
	var edits sources.HeaderEdits
	for i := range 1001 {
		edits.Add = append(edits.Add, sources.Header{Name: fmt.Sprint("x-", i), Value: "1"})
	}
	return edits
}

// publishedClusters returns the clusters that the scope of a domain names, as the
// publisher has it.
func publishedClusters(t *testing.T, c *Collator, r *recorder, domain string) string {
	t.Helper()
	key := xds.Key{Type: xds.Scope, Name: domain}
	msg, err := message(c.fleets[0], key)
	if err != nil {
		t.Fatal(err)
	}
	resource, err := envoy.Resource(key, msg)
	if err != nil || resource.Version != r.Versions[key] {
		t.Fatalf("the scope of %s is not published as the state wants it: %v", domain, err)
	}
	var clusters []string
	for _, name := range c.fleets[0].namedBy(key, msg) {
		clusters = append(clusters, name.Name)
	}
	return strings.Join(clusters, " ")
}

func wantProblem(t *testing.T, c *Collator, app, words string) {
	t.Helper()
	view, _ := c.App(app)
	if got := strings.Join(reasons(view.Problems), "\n"); (got == "") != (words == "") || !strings.Contains(got, words) {
		t.Errorf("problems of %s: %q, want %q", app, got, words)
	}
}

func TestBadRouteCostsItselfOnly(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	bad := withHTTP(webApp("/b", "d.test"), sources.HTTP{Paths: []sources.Path{{Prefix: "/b"}}, Order: 1, RequestHeaders: manyHeaders()})
	syncApps(c, webApp("/a", "d.test"), bad)
	if got := publishedClusters(t, c, r, "d.test"); got != "/a_0" {
		t.Errorf("d.test goes to %q, want /a_0 alone", got)
	}
	wantProblem(t, c, "/b", "no more than 1000 item(s)")
	wantProblem(t, c, "/a", "")
	e := explained(c, "d.test")
	if rules := e.Domains[0].Rules; len(rules) != 2 || rules[0].App != "/a" || rules[1].Outcome != "loses" || !strings.Contains(rules[1].Reason, "left out") {
		t.Errorf("explained as %+v", rules)
	}

	// What the bad route would have taken goes to who is next.
	updateApps(c, withHTTP(webApp("/a", "d.test"), sources.HTTP{ResponseHeaders: manyHeaders()}), webApp("/c", "d.test"))
	if got := publishedClusters(t, c, r, "d.test"); got != "/c_0" {
		t.Errorf("d.test goes to %q, want /c_0", got)
	}
	wantProblem(t, c, "/c", "")

	updateApps(c, webApp("/a", "d.test"), changed(bad, func(p *sources.Port) {
		h := *p.HTTP
		h.RequestHeaders = sources.HeaderEdits{}
		p.HTTP = &h
	}))
	if got := publishedClusters(t, c, r, "d.test"); got != "/a_0 /b_0" {
		t.Errorf("d.test goes to %q, want both once their headers are few", got)
	}
	wantProblem(t, c, "/b", "")
	if n := c.problems.count(problem.Resource); n != 0 {
		t.Errorf("%d problems stay: %v", n, reasons(c.Problems()))
	}
}

// An app whose cluster cannot be made gets no share of a domain: its part of the
// requests would get 503.
func TestNothingIsRoutedToAClusterThatFailed(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	weight := uint32(50)
	share := func(id string) *sources.App {
		return withHTTP(webApp(id, "d.test"), sources.HTTP{ClusterWeight: &weight})
	}
	broken := changed(share("/b"), func(p *sources.Port) { p.Upstream = &sources.Upstream{ConnectTimeout: -time.Second} })
	syncApps(c, share("/a"), broken)
	if got := publishedClusters(t, c, r, "d.test"); got != "/a_0" {
		t.Errorf("d.test goes to %q, want /a_0 alone", got)
	}
	wantProblem(t, c, "/b", `clusters "/b_0"`)
	updateApps(c, share("/b"))
	if got := publishedClusters(t, c, r, "d.test"); got != "/a_0 /b_0" {
		t.Errorf("d.test goes to %q, want a share for /b", got)
	}
	// One that is published stays in use.
	updateApps(c, broken)
	if got := publishedClusters(t, c, r, "d.test"); got != "/a_0 /b_0" {
		t.Errorf("d.test goes to %q, want a share for /b, whose last good cluster is there", got)
	}
	wantProblem(t, c, "/b", `clusters "/b_0"`)
}

func TestBadPartsOfTheHTTPSListenerCostThemselves(t *testing.T) {
	t.Parallel()
	for _, onDemand := range []bool{false, true} {
		fleet := testFleet()
		fleet.CertificatesOnDemand = onDemand
		c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
		retries := uint32(math.MaxUint32)
		bad := changed(serviceApp("/bad", sources.TCP{Passthrough: true}, "bad.test"), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{NumRetries: &retries}
		})
		sync := func(names ...string) {
			var all []*certs.Certificate
			for _, name := range names {
				all = append(all, certificate(name, name, "*."+name))
			}
			c.SyncCertificates("vault", all, nil)
		}
		sync("a.test", "\xff")
		second := changed(bad, func(*sources.Port) {})
		second.ID = "/bad2"
		syncApps(c, bad, second, serviceApp("/good", sources.TCP{Passthrough: true}, "good.test"))
		before, ok := r.Versions[httpsKey]
		chains, passed := c.fleets[0].httpsParts()
		if !ok || len(chains) != 1 || len(passed) != 1 || passed[0].App != "/good" {
			t.Fatalf("the listener is published: %v; it has the chains %+v and passes %+v", ok, chains, passed)
		}
		wantProblem(t, c, "/bad", "port 0 of /bad in listeners")
		wantProblem(t, c, "/good", "")
		sync("a.test", "b.test")
		c.round()
		if r.Versions[httpsKey] == before {
			t.Error("a new certificate does not get into the listener beside what is bad")
		}
		c.UpdateApps(nil, []string{"/bad2"})
		updateApps(c, serviceApp("/bad", sources.TCP{Passthrough: true}, "bad.test"))
		wantProblem(t, c, "/bad", "")
		if _, passed := c.fleets[0].httpsParts(); len(passed) != 2 {
			t.Errorf("passed through: %+v, want both", passed)
		}
	}
}

// contents has each version of the resources of a fleet, once it was published.
type contents map[xds.Key]map[string]proto.Message

// check reads what was published in the last round, and checks all that is
// published, be it from rounds before.
func (all contents) check(t *testing.T, c *Collator, r *recorder) {
	t.Helper()
	for key, version := range r.Versions {
		if all[key] == nil {
			all[key] = make(map[string]proto.Message)
		}
		if all[key][version] == nil {
			msg, err := message(c.fleets[0], key)
			if err != nil || msg == nil {
				t.Fatalf("%s is published, and cannot be made: %v", quoted(key), err)
			}
			// The version of a resource with variants has those of both.
			if resource, err := envoy.Resource(key, msg); err != nil || !strings.HasPrefix(version, resource.Version) {
				t.Fatalf("%s is published as no state wanted it: %v", quoted(key), err)
			}
			all[key][version] = msg
		}
		checkNames(t, key, all[key][version], func(kind xds.Type, name string) {
			// What could never be made is named all the same.
			if _, failed := c.fleets[0].failed.resources[xds.Key{Type: kind, Name: name}]; !failed {
				holds(t, r, key)(kind, name)
			}
		})
	}
}

// setACMEApp has challenges go to another app of the two.
func setACMEApp(f *fleetState, one, other, to string) {
	f.ACMEApp = to
	f.markCluster(routing.ClusterName(one, 0))
	f.markCluster(routing.ClusterName(other, 0))
	for domain := range f.domains.claims {
		f.mark(xds.Scope, domain)
	}
}

// TestKeptClusterIsWantedAgain has an app come back while its cluster is kept for a
// scope that cannot be made, and its new one cannot be made either.
func TestKeptClusterIsWantedAgain(t *testing.T) {
	t.Parallel()
	const good, bad = "/challenges", "/\xff"
	c, r := newTest(t, Config{ACMEApp: good})
	f := c.fleets[0]
	challenged := func(id string) *sources.App {
		return changed(webApp(id, "d.test"), func(p *sources.Port) { p.ACMEDomains = p.Domains })
	}
	syncApps(c, challenged("/a"), challenged("/b"))
	setACMEApp(f, good, bad, bad)
	c.UpdateApps(nil, []string{"/a"})
	c.round()
	cluster := xds.Key{Type: xds.Cluster, Name: "/a_0"}
	if _, kept := f.published.references.stillNamed[cluster]; !kept {
		t.Fatal("the cluster is not kept")
	}
	broken := func(domains ...string) *sources.App {
		return changed(webApp("/a", domains...), func(p *sources.Port) { p.Upstream = &sources.Upstream{ConnectTimeout: -time.Second} })
	}
	updateApps(c, broken())
	setACMEApp(f, good, bad, good)
	updateApps(c, broken("e.test"))
	if _, ok := r.Versions[cluster]; !ok {
		t.Error("the last good cluster was removed")
	}
	if got := publishedClusters(t, c, r, "e.test"); got != "/a_0" {
		t.Errorf("e.test goes to %q, want /a_0", got)
	}
	updateApps(c, broken())
	updateApps(c, broken("f.test"))
	if _, ok := r.Versions[cluster]; !ok {
		t.Error("the last good cluster was removed when no domain led to it")
	}
	wantNoReferencesLost(t, f, r)
}

// wantNoReferencesLost checks that what is named is published.
func wantNoReferencesLost(t *testing.T, f *fleetState, r *recorder) {
	t.Helper()
	for by, names := range f.published.references.names {
		for _, name := range names {
			holds(t, r, by)(name.Type, name.Name)
		}
	}
}

// TestNothingIsRemovedThatIsNamed has scopes fail as a whole now and then, so that
// what is published is older than the rest.
func TestNothingIsRemovedThatIsNamed(t *testing.T) {
	t.Parallel()
	kept := 0
	for seed := range uint64(60) {
		random := newRandom(seed, 4)
		// A scope with ACME challenges cannot be made while the name is no UTF-8.
		const good, bad = "/challenges", "/\xff"
		cfg := Config{CertificateSources: []string{"vault"}, ACMEApp: good}
		c, r := newTest(t, cfg)
		f := c.fleets[0]
		turn := func(to string) { setACMEApp(f, good, bad, to) }
		c.SyncApps(nil)
		c.SyncCertificates("vault", nil, nil)
		all := make(contents)
		for range 20 {
			if random.IntN(3) == 0 {
				turn([]string{good, bad}[random.IntN(2)])
			}
			step(random, c)
			all.check(t, c, r)
			kept += len(f.published.references.stillNamed)
		}
		turn(good)
		c.round()
		all.check(t, c, r)
		wantSameAsFresh(t, c, r, cfg)
		if n := len(f.published.references.stillNamed); n > 0 {
			t.Fatalf("seed %d: %d resources are kept that nothing names: %v", seed, n, f.published.references.stillNamed)
		}
	}
	if kept == 0 {
		t.Error("nothing was ever kept")
	}
}

// TestReferencesAreThoseOfTheMessages compares what a resource is said to name
// with what is in it.
func TestReferencesAreThoseOfTheMessages(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := newRandom(seed, 5)
		c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
		c.SyncApps(nil)
		c.SyncCertificates("vault", nil, nil)
		for range 10 {
			step(random, c)
			for key := range r.Versions {
				b, err := c.fleets[0].resource(key)
				if err != nil {
					t.Fatal(err)
				}
				msg, err := message(c.fleets[0], key)
				if err != nil {
					t.Fatal(err)
				}
				named := make(map[xds.Key]struct{})
				checkNames(t, key, msg, func(kind xds.Type, name string) { named[xds.Key{Type: kind, Name: name}] = struct{}{} })
				// These are kept and removed together.
				delete(named, xds.Key{Type: xds.Endpoint, Name: key.Name})
				if key.Name != routing.WildcardsScope {
					delete(named, xds.Key{Type: xds.Scope, Name: routing.WildcardsScope})
				}
				if diff := cmp.Diff(sortedKeys(named), b.names, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("%s names (-in the message +said):\n%s", quoted(key), diff)
				}
			}
		}
	}
}
