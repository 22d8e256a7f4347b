package collator

import (
	"strings"
	"testing"

	"relay/certs"
	"relay/collator/routing"
)

func TestServerNamesAreResolved(t *testing.T) {
	t.Parallel()
	chains := []routing.TLSChain{
		{Name: "1", Secret: "vault/a", ServerNames: []string{"a.test", "b.test"}},
		{Name: "2", Secret: "vault/zone", ServerNames: []string{"*.zone.test"}},
		{Name: "3", Secret: "vault/deep", ServerNames: []string{"*.deep.zone.test", "x.zone.test"}},
	}
	byDefault := append(chains[:3:3], routing.TLSChain{Name: routing.DefaultChain, Secret: "dir/default"})
	for _, tt := range []struct {
		asked, secret, orDefault string
		lasting                  bool
	}{
		{asked: "a.test", secret: "vault/a", lasting: true},
		{asked: "b.test", secret: "vault/a", lasting: true},
		{asked: "A.Test", secret: "vault/a"},
		{asked: "a.test.", secret: "vault/a"},
		{asked: "y.zone.test", secret: "vault/zone"},
		{asked: "y.y.zone.test", secret: "vault/zone"},
		{asked: "*.zone.test", secret: "vault/zone", lasting: true}, // not a name that Envoy lets through
		{asked: "x.zone.test", secret: "vault/deep", lasting: true},
		{asked: "y.deep.zone.test", secret: "vault/deep"},
		{asked: "zone.test", orDefault: "dir/default"},
		{asked: "c.test", orDefault: "dir/default"},
		{asked: "vault/a", orDefault: "dir/default"},
		{asked: "", orDefault: "dir/default"},
	} {
		secret, lasting, ok := routing.NewResolver(chains).Resolve(tt.asked)
		if secret != tt.secret || lasting != tt.lasting || ok != (tt.secret != "") {
			t.Errorf("%q: got %q, %v, %v; want %q, %v", tt.asked, secret, lasting, ok, tt.secret, tt.lasting)
		}
		want := tt.secret + tt.orDefault
		if secret, lasting, ok := routing.NewResolver(byDefault).Resolve(tt.asked); secret != want || lasting != tt.lasting || !ok {
			t.Errorf("%q, with a default: got %q, %v, %v; want %q, %v", tt.asked, secret, lasting, ok, want, tt.lasting)
		}
	}
}

// Publishers are told who answers for which name when that changes, not at each
// renewal.
func TestResolverIsPublished(t *testing.T) {
	t.Parallel()
	fleet := testFleet()
	fleet.CertificatesOnDemand = true
	c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
	syncApps(c)
	r.Touched()
	answers := func(name string) string {
		if r.Resolve == nil {
			return "no resolver"
		}
		secret, _, _ := r.Resolve(name)
		r.Resolve = nil
		return secret
	}
	syncCertificates := func(certificates ...*certs.Certificate) {
		c.SyncCertificates("vault", certificates, nil)
		c.round()
	}
	syncCertificates(certificate("a.test", "1", "a.test"))
	wantTouched(t, r, `set secrets "vault/a.test"`, `set listeners "https"`)
	if got := answers("a.test"); got != "vault/a.test" {
		t.Errorf("a.test is answered by %q", got)
	}
	syncCertificates(certificate("a.test", "2", "a.test"))
	wantTouched(t, r, `set secrets "vault/a.test"`)
	if r.Resolve != nil {
		t.Error("a renewal publishes a resolver")
	}
	syncCertificates(certificate("a.test", "2", "a.test"), certificate("b.test", "3", "b.test"))
	if got := answers("b.test"); got != "vault/b.test" {
		t.Errorf("b.test is answered by %q", got)
	}
	// The first form of the listener, all that most Envoys see, stays as it was.
	before, otherBefore, _ := strings.Cut(r.Versions[httpsKey], " or ")
	syncCertificates(certificate("a.test", "2", "a.test"))
	after, otherAfter, _ := strings.Cut(r.Versions[httpsKey], " or ")
	if before != after || otherBefore == otherAfter {
		t.Errorf("the forms of the listener were %s and %s, now are %s and %s: want the first as it was", before, otherBefore, after, otherAfter)
	}
}
