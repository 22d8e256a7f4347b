package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"

	"relay/certs/certstest"
)

// A browser sends requests for all names of a certificate on one connection. A request for a
// name whose TLS is passed through is told to come by another one; by plain HTTP, and once
// the name is not passed through, nothing is misdirected.
func TestMisdirectedRequests(t *testing.T) {
	w := newWorld(t)
	w.certs.put("zone.pem", []string{"*.zone.test"}, certstest.Options{})
	w.start()
	passthrough := []string{modeLabel, "tcp", "RELAY_0_TLS_PASSTHROUGH", "true"}
	w.marathon.deploy(app("/web", "web.zone.test", 1),
		app("/both", "pass.zone.test", 1), // by plain HTTP only: /a has its TLS
		app("/a/pass", "pass.zone.test, *.in.zone.test", 1, passthrough...))
	w.clients.expect("https://web.zone.test/", http.StatusOK, "/web")
	w.clients.expect("http://pass.zone.test/", http.StatusOK, "/both")

	client := w.clients.client(true)
	transport := client.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = true
	transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, NextProtos: []string{"h2"}}
	ask := func(host string) (answer, error) { return w.clients.get(client, "https://web.zone.test/", host) }
	for host, want := range map[string]int{
		"web.zone.test": 200, "pass.zone.test": 421, "PASS.zone.test.": 421, "pass.zone.test:443": 421, "x.in.zone.test": 421, "other.zone.test": 404,
	} {
		w.eventually(host, func() error {
			a, err := ask(host)
			if err == nil && a.status != want {
				err = fmt.Errorf("status %d, want %d", a.status, want)
			}
			return err
		})
	}
	w.clients.expect("http://x.in.zone.test/", http.StatusNotFound, "")
	w.marathon.deploy(app("/a/pass", "other.test", 1))
	w.eventually("pass.zone.test is served", func() error {
		a, err := ask("pass.zone.test")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("status %d", a.status)
		}
		return err
	})
	w.envoy.nothingRejected()
}
