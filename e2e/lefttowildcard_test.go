package e2e

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"relay/certs/certstest"
)

// An exact name whose certificate has expired or is not valid yet is served with
// that of a wildcard, as long as that is valid: at the start, and when the clock
// alone says so. Nobody's connections are closed but those of the name.
func TestNameIsLeftToAWildcard(t *testing.T) {
	t.Parallel()
	for _, certificates := range []string{"", onDemand} {
		t.Run("certificates "+certificates, func(t *testing.T) {
			w := newWorld(t)
			w.relay.fleet.CertificatesOnDemand = certificates == onDemand
			now := time.Now() // a day may end meanwhile
			day := func(n int) time.Time { return now.AddDate(0, 0, n) }
			w.certs.put("expired.pem", []string{"www.shop.test", "deep.api.shop.test"}, certstest.Options{Serial: 1, NotBefore: day(-90), NotAfter: day(-1)})
			w.certs.put("else.pem", []string{"else.test"}, certstest.Options{Serial: 3})
			w.marathon.deploy(app("/shop", "www.shop.test,api.shop.test,deep.api.shop.test,else.test", 1))
			w.start()
			w.tls.presents("www.shop.test", 1)
			w.admin.problem("expired.pem", "nothing else covers deep.api.shop.test, www.shop.test")

			w.certs.put("wildcard.pem", []string{"*.shop.test"}, certstest.Options{Serial: 2, NotAfter: day(90)})
			w.tls.presents("www.shop.test", 2)
			w.tls.presents("deep.api.shop.test", 1)
			w.clients.expect("https://www.shop.test/", http.StatusOK, "/shop")
			w.admin.problem("expired.pem", "wildcard.pem, which is valid until "+day(90).UTC().Format(time.DateOnly)+", is served instead for www.shop.test")
			w.admin.problem("expired.pem", "nothing else covers deep.api.shop.test")
			others := append(w.conns.openAll("api.shop.test"), w.conns.openAll("else.test")...)

			// The dates of certificates are whole seconds. Until it ends, a busy machine has time to serve it.
			ends := time.Now().Add(20 * time.Second).Truncate(time.Second)
			w.certs.put("ends.pem", []string{"www.shop.test"}, certstest.Options{Serial: 4, NotAfter: ends})
			w.tls.presents("www.shop.test", 4)
			w.admin.settled()
			w.tls.presents("www.shop.test", 2)
			if now := time.Now(); now.Before(ends) {
				t.Errorf("the wildcard is served %s before the exact name's certificate ends", ends.Sub(now))
			}
			w.clients.expect("https://www.shop.test/", http.StatusOK, "/shop")
			begins := time.Now().Add(10 * time.Second).Truncate(time.Second)
			w.certs.put("begins.pem", []string{"www.shop.test"}, certstest.Options{Serial: 5, NotBefore: begins})
			w.tls.presents("www.shop.test", 2)
			w.tls.presents("www.shop.test", 5)
			if now := time.Now(); now.Before(begins) {
				t.Errorf("a certificate is served %s before it begins", begins.Sub(now))
			}
			w.clients.expect("https://www.shop.test/", http.StatusOK, "/shop")
			w.eventually("old filter chains closed", func() error {
				if n := w.envoy.draining(); n != 0 {
					return errors.New("some drain")
				}
				return nil
			})
			w.conns.open(others...)

			// Without the wildcard the expired one is better than none.
			w.certs.remove("begins.pem")
			w.certs.remove("ends.pem")
			w.certs.remove("wildcard.pem")
			w.tls.presents("www.shop.test", 1)
			w.tls.presents("api.shop.test", 0)
			w.envoy.nothingRejected()
		})
	}
}
