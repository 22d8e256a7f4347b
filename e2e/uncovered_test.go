package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
)

// A domain without a certificate, and a certificate without a domain, are seen
// everywhere, and nobody is woken for the latter. When the certificate comes, as
// it does by ACME some seconds after the domain, all is well.
func TestUncovered(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"), app("/b", "b.test", 1))
	short := certstest.Options{NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: time.Now().Add(time.Hour)}
	gone := certstest.Options{NotBefore: short.NotBefore, NotAfter: time.Now().Add(-time.Hour)}
	w.certs.write("old.pem", w.certs.ca.TestIssue(t, []string{"old.test"}, short).Bundle())
	w.certs.write("gone.pem", w.certs.ca.TestIssue(t, []string{"gone.test"}, gone).Bundle())
	w.certs.issue("seed.test")
	w.start()
	if _, err := w.clients.get(w.clients.client(false), "https://a.test/", ""); err == nil {
		t.Error("a.test is served by HTTPS without a certificate")
	}
	w.admin.problem("/a", "a.test: fleet external: clients of port 0 are redirected to https, where they get an error")
	w.admin.has(`relay_domains_without_certificate{fleet="external",wanted="true"} 1`,
		`relay_domains_without_certificate{fleet="external",wanted="false"} 1`,
		`relay_certificates_unused 2`,
		`"domain": "b.test"`, `"unused": true`, "in no domain's use", "Domains without a certificate")
	in90Days := time.Now().AddDate(0, 0, 90) // certificates of these tests last so long
	w.admin.expires(filepath.Join(w.certs.dir, "seed.test.pem"), in90Days)
	for _, unwanted := range []string{`old.pem",source="dir"`, `gone.pem",source="dir"`} {
		if strings.Contains(w.admin.pages(), unwanted) {
			t.Errorf("a certificate in no domain's use has days to expiry: %s", unwanted)
		}
	}
	for _, p := range w.admin.problems() {
		if strings.Contains(p.Subject, "gone.pem") {
			t.Errorf("an unused certificate is a problem: %+v", p)
		}
	}
	if _, out, _ := w.admin.explain("a.test"); !strings.Contains(out, "no certificate covers the name") || !strings.Contains(out, "redirected") {
		t.Errorf("explained by\n%s", out)
	}

	w.certs.issue("a.test")
	w.admin.hook("usr1")
	w.clients.expect("https://a.test/", http.StatusOK, "/a")
	w.admin.has(`relay_domains_without_certificate{fleet="external",wanted="true"} 0`)
	w.admin.expires(filepath.Join(w.certs.dir, "a.test.pem"), in90Days)
	if problems := w.admin.problemsOf("/a"); len(problems) > 0 {
		t.Errorf("problems with a certificate: %+v", problems)
	}
	if strings.Contains(w.relay.log.String(), "level=WARN") || strings.Contains(w.relay.log.String(), "level=ERROR") {
		t.Error("something of this is logged as a warning")
	}

	// A domain comes back to an old certificate.
	w.marathon.deploy(app("/old", "old.test", 1), app("/gone", "gone.test", 1))
	w.clients.expect("https://old.test/", http.StatusOK, "/old")
	w.admin.has(`relay_certificates_unused 0`)
	w.admin.expires(filepath.Join(w.certs.dir, "old.pem"), short.NotAfter)
	w.admin.expires(filepath.Join(w.certs.dir, "gone.pem"), gone.NotAfter)
	w.admin.problem("gone.pem", "expired")
	w.relay.stop()

	// The next Relay reads apps after certificates, and tells of both.
	w.relay.start()
	w.eventually("reminders", func() error {
		for _, name := range []string{"old", "gone"} {
			if !strings.Contains(w.relay.log.String(), w.certs.dir+"/"+name+".pem expires=") {
				return fmt.Errorf("nothing of %s", name)
			}
		}
		return nil
	})
}

// Relay says so before it serves, too.
func TestCheckTellsOfUncovered(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.certs.issue("seed.test")
	args := []string{"check", "--marathon", w.marathon.URL(), "--https", w.clients.https, "--certs-dir", w.certs.dir}
	status, out, errs := command(t, args...)
	if want := "domains without a certificate: 1, such as a.test in fleet external: no certificate covers it"; status != 0 || !strings.Contains(out, want) {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	w.marathon.deploy(app("/a", "a.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"))
	if status, out, errs := command(t, args...); status != 1 || !strings.Contains(out, "wrong  fleet external: app /a: a.test: clients of port 0 are redirected") {
		t.Errorf("with a redirect: status %d, %s%s", status, out, errs)
	}
}
