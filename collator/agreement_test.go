package collator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/internal/hostname"
)

// TestAllAgreeOnTheCertificate compares, in fleets of all kinds, which certificate the
// https listener has for each domain with what people are told, and with what
// Envoys get that ask for certificates on demand.
func TestAllAgreeOnTheCertificate(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			some := testFleet()
			some.Name, some.ServerNames = "internal", []string{"*.a.test", "b.test"}
			some.HTTP, some.HTTPS = netip.MustParseAddrPort("127.0.0.1:81"), netip.MustParseAddrPort("127.0.0.1:444")
			random := newRandom(seed, 6)
			c, _ := newTest(t, Config{Fleets: []routing.Fleet{testFleet(), some}, CertificateSources: []string{"vault"}})
			c.SyncApps(nil)
			c.SyncCertificates("vault", nil, nil)
			for range 15 {
				step(random, c)
				for _, f := range c.fleets {
					for domain := range f.domains.claims {
						wantAgreement(t, f, domain)
					}
				}
			}
		})
	}
}

func wantAgreement(t *testing.T, f *fleetState, domain string) {
	t.Helper()
	// As Envoy does it: the exact name, then the longest wildcard.
	isPassed := routing.Pair{Secret: "passed through"}
	answers := make(map[string]routing.Pair)
	chains, passed := f.httpsParts()
	for _, chain := range chains {
		for _, name := range chain.ServerNames {
			answers[name] = chain.Pair
		}
	}
	for _, s := range passed {
		for _, name := range s.Names {
			answers[name] = isPassed
		}
	}
	var none, answer routing.Pair
	for _, name := range hostname.Candidates(domain) {
		if answer = answers[name]; answer != none {
			break
		}
	}
	kept := slices.ContainsFunc(routing.KeptInListener(chains, passed), func(c routing.TLSChain) bool { return c.Pair == answer })
	_, wildcard := hostname.CutWildcard(domain)
	if answer != none && answer != isPassed && !kept && !wildcard {
		if got, _, _ := routing.NewResolver(f.chains).Resolve(domain); got != answer.Secret || answer.Second != "" {
			t.Fatalf("fleet %s: %s is answered with %q, on demand with %q", f.Name, domain, answer, got)
		}
	}
	if !slices.ContainsFunc(f.claimsOn(domain), func(c routing.Claim) bool { return c.Route }) {
		return
	}
	if answer == isPassed {
		answer = none
	}
	if got := f.coverage.picked[domain]; got != answer && !strings.Contains(f.coverage.uncovered[domain].reason, "one level") {
		t.Fatalf("fleet %s: %s is answered with %q, counted for %q", f.Name, domain, answer, got)
	}
	for _, view := range explained(f.c, domain).Domains {
		told := none
		if used := view.HTTPS.Certificate; used != nil && used.ServerName != "" {
			told = toldPair(view.HTTPS)
		}
		if view.Fleet == f.Name && told != answer {
			t.Fatalf("fleet %s: %s is answered with %q, explained by %q", f.Name, domain, answer, told)
		}
	}
}

// toldPair are the secrets by which something is explained.
func toldPair(h explainedHTTPS) (told routing.Pair) {
	told.Secret = h.Certificate.Secret
	if h.Second != nil {
		told.Second = h.Second.Secret
	}
	return told
}
