package collator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
)

func ofKind(kind certs.Kind, c *certs.Certificate) *certs.Certificate {
	c.Kind = kind
	return c
}

// Names that have an RSA and an ECDSA certificate share a filter chain with both, whichever of them
// lasts longer; so a renewal touches nothing but its secret.
func TestSecondCertificate(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
	syncApps(c, webApp("/a", "a.test", "b.test"))
	ecdsa := func(content string, days int) *certs.Certificate {
		e := ofKind(certs.ECDSA, certificate("ecdsa", content, "a.test"))
		e.NotAfter = testTime.AddDate(0, 0, days)
		return e
	}
	rsa := ofKind(certs.RSA, certificate("rsa", "1", "a.test", "b.test")) // for 90 days
	sync := func(all ...*certs.Certificate) []string {
		r.Touched()
		c.SyncCertificates("vault", all, nil)
		c.round()
		return r.Touched()
	}
	sync(rsa)
	touched := sync(ecdsa("2", 80), rsa)
	if want := []string{`set secrets "vault/ecdsa"`, `set listeners "https"`}; !slices.Equal(touched, want) {
		t.Errorf("the second certificate touched %q, want %q", touched, want)
	}
	const both = `"vault/ecdsa" + "vault/rsa"`
	want := []string{both + "[a.test]", "vault/rsa[b.test]"}
	if diff := cmp.Diff(want, chainLines(t, c.fleets[0])); diff != "" {
		t.Errorf("filter chains (-want +got):\n%s", diff)
	}
	// It overtakes the other.
	if touched := sync(ecdsa("3", 100), rsa); !slices.Equal(touched, []string{`set secrets "vault/ecdsa"`}) {
		t.Errorf("a renewal touched %q, want its secret only", touched)
	}
	domains, _ := c.DomainsByCertificate()
	if diff := cmp.Diff(map[string][]string{"vault/ecdsa": {"a.test"}, "vault/rsa": {"a.test", "b.test"}}, domains); diff != "" {
		t.Errorf("domains (-want +got):\n%s", diff)
	}
	if told := toldPair(explained(c, "a.test").Domains[0].HTTPS); told != (routing.Pair{Secret: "vault/ecdsa", Second: "vault/rsa"}) {
		t.Errorf("explained by %v, want both", told)
	}
	sync(rsa)
	if diff := cmp.Diff([]string{"vault/rsa[a.test b.test]"}, chainLines(t, c.fleets[0])); diff != "" {
		t.Errorf("filter chains without the second one (-want +got):\n%s", diff)
	}
}

// A certificate that is served for none of its names, or not for all, has a remark that says
// why, and is no problem.
func TestCertificatesThatLose(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"dir", "vault"}})
	syncApps(c, webApp("/a", "a.test", "b.test", "www.shop.test"))
	of := func(source string, from, to int, c *certs.Certificate) *certs.Certificate {
		c.Source, c.NotBefore, c.NotAfter = source, testTime.AddDate(0, 0, from), testTime.AddDate(0, 0, to)
		return c
	}
	misses := of("dir", -9, 95, certificate("misses", "5", "a.test"))
	misses.Remark = "a part is missing"
	fallback := of("dir", -9, 9, certificate("fallback", "9"))
	fallback.Default = true
	better := of("dir", -9, 99, certificate("better fallback", "8"))
	better.Default = true
	c.SyncCertificates("dir", []*certs.Certificate{
		of("dir", -9, 90, ofKind(certs.ECDSA, certificate("best", "1", "a.test", "b.test", "*.shop.test"))),
		of("dir", -9, 80, ofKind(certs.ECDSA, certificate("shorter", "2", "a.test", "b.test", "only.test"))),
		of("dir", -9, -1, ofKind(certs.RSA, certificate("expired", "3", "a.test"))),
		of("dir", 3, 99, ofKind(certs.RSA, certificate("early", "4", "b.test"))),
		of("dir", -9, 70, ofKind(certs.RSA, certificate("second", "6", "b.test"))),
		of("dir", -9, -1, certificate("left", "7", "www.shop.test")),
		of("dir", -9, -2, certificate("left longer", "7", "www.shop.test")),
		ofKind(certs.ECDSA, misses), fallback, better,
	}, nil)
	c.SyncCertificates("vault", []*certs.Certificate{of("vault", -9, 70, ofKind(certs.RSA, certificate("alike", "0", "b.test")))}, nil)
	c.round()
	got := make(map[string]string)
	for _, v := range c.Certificates() {
		got[v.Name] = strings.Join(v.Remarks, "; ")
	}
	want := map[string]string{
		"best": "", "alike": "", "better fallback": "", "left": "",
		"shorter":     "not served for a.test, b.test: dir/best is, as it is valid for longer",
		"expired":     "not served for a.test: dir/best is, as this one expired on 2026-04-30",
		"early":       "not served for b.test: vault/alike is, as this one is not valid before 2026-05-04",
		"second":      "not served for b.test: vault/alike is, as of two alike Vault's counts first",
		"left longer": "not served for www.shop.test: dir/best is, as this one expired on 2026-04-29",
		"misses":      "a part is missing; not served for a.test: dir/best is, as nothing is missing in its chain",
		"fallback":    "not served for clients without a known name: dir/better fallback is, as it is valid for longer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}
	for _, p := range c.Problems() {
		if p.Kind == problem.Certificate && p.Subject != "left" {
			t.Errorf("a problem of %s: %s", p.Subject, p.Reason)
		}
	}
}

// On demand Envoy loads one certificate for a name. Names with two stay in the listener.
func TestSecondCertificateOnDemand(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	fleet.CertificatesOnDemand = true
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
	c.SyncCertificates("vault", []*certs.Certificate{
		ofKind(certs.ECDSA, certificate("ecdsa", "1", "a.test")), ofKind(certs.RSA, certificate("rsa", "2", "a.test", "b.test")),
	}, nil)
	syncApps(c, webApp("/a", "a.test", "b.test"))
	kept := routing.KeptInListener(c.fleets[0].chains, nil)
	if len(kept) != 1 || !slices.Equal(kept[0].ServerNames, []string{"a.test"}) || len(kept[0].Secrets()) != 2 {
		t.Errorf("kept in the listener: %+v", kept)
	}
	if got, _, _ := r.Resolve("b.test"); got != "vault/rsa" {
		t.Errorf("b.test is answered by %s", got)
	}
}

// While Relay runs, the chain that is sent changes when an issuer ends, and so does the choice
// of a certificate and what people are told. A chain that goes on with another issuer touches no
// listener.
func TestIssuerEndsWhileRelayRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
		c.now = time.Now
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Serve(ctx) }()
		start := time.Now()
		at := func(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }
		chains := lasting(certificate("chains", "1", "a.test"), -time.Hour, 100*time.Hour)
		chains.Chains = []certs.Chain{
			{PEM: []byte("first"), NotBefore: at(-1), NotAfter: at(100)},
			{From: at(2), PEM: []byte("second"), NotBefore: at(-1), NotAfter: at(100), Remark: "a part is missing"},
		}
		ends := lasting(certificate("ends", "2", "b.test"), -time.Hour, 4*time.Hour)
		ends.EndsWith = "CN=Sub"
		c.SyncCertificates("vault", []*certs.Certificate{
			chains, ends, lasting(certificate("good", "3", "b.test"), -time.Hour, 3*time.Hour),
		}, nil)
		c.SyncApps([]*sources.App{webApp("/app", "a.test", "b.test")})
		synctest.Wait()
		before := httpsChains(t, c.fleets[0])
		check := func(wait time.Duration, touched []string, sent, uncovered, said string) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if diff := cmp.Diff(touched, r.Touched()); diff != "" {
				t.Errorf("published (-want +got):\n%s", diff)
			}
			if got := string(c.fleets[0].secrets["vault/chains"].Chain); got != sent {
				t.Errorf("the chain is %q, want %q", got, sent)
			}
			without, _ := c.UncoveredDomains()
			if got := fmt.Sprint(without); !strings.Contains(got, uncovered) || uncovered == "" && len(without) > 0 {
				t.Errorf("domains without a certificate: %s, want %q", got, uncovered)
			}
			if got := strings.Join(problemsWith(c, problem.Certificate, "served"), ";"); !strings.Contains(got, said) || said == "" && got != "" {
				t.Errorf("problems %q, want %q", got, said)
			}
		}
		r.Touched()
		check(0, nil, "first", "", "")
		check(2*time.Hour+time.Second, []string{`set secrets "vault/chains"`}, "second", "", "")
		check(2*time.Hour, nil, "second", "b.test false the certificate vault/ends has expired with its issuer CN=Sub",
			`expired on 2000-01-01 with its issuer "CN=Sub" and is served all the same: nothing else covers b.test; put a valid certificate of the issuer into the bundle`)
		if !proto.Equal(before["vault/chains"], httpsChains(t, c.fleets[0])["vault/chains"]) {
			t.Error("the filter chain changed: its connections are closed")
		}
		for _, v := range c.Certificates() {
			if v.Name == "chains" && !slices.Contains(v.Remarks, "a part is missing") {
				t.Errorf("remarks %q", v.Remarks)
			}
			if v.Name == "ends" && (v.EndsWith != "CN=Sub" || v.DaysLeft != -1) {
				t.Errorf("%+v", v)
			}
		}
		cancel()
		<-done
	})
}
