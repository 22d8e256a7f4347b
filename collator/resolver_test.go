package collator

import (
	"strings"
	"testing"

	"relay/certs"
	"relay/collator/routing"
)

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
