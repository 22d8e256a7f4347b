package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin"
	"relay/certs/certstest"
)

// has waits until all pages together have each text.
func (w *world) has(texts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%q", texts), func() error {
		pages := w.pages()
		for _, text := range texts {
			if !strings.Contains(pages, text) {
				return fmt.Errorf("no page has %q", text)
			}
		}
		return nil
	})
}

// problemsOf are those of an app.
func (w *world) problemsOf(app string) []admin.ProblemView {
	return slices.DeleteFunc(w.admin.problems(), func(p admin.ProblemView) bool { return p.Subject != app })
}

// A domain without a certificate, and a certificate without a domain, are seen
// everywhere, and nobody is woken for the latter. When the certificate comes, as
// it does by ACME some seconds after the domain, all is well.
func TestUncovered(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"), app("/b", "b.test", 1))
	short := certstest.Options{NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: time.Now().Add(time.Hour)}
	gone := certstest.Options{NotBefore: short.NotBefore, NotAfter: time.Now().Add(-time.Hour)}
	w.writePEM("old.pem", w.ca.TestIssue(t, []string{"old.test"}, short).Bundle())
	w.writePEM("gone.pem", w.ca.TestIssue(t, []string{"gone.test"}, gone).Bundle())
	w.issue("seed.test")
	w.start()
	if _, err := w.get(w.client(false), "https://a.test/", ""); err == nil {
		t.Error("a.test is served by HTTPS without a certificate")
	}
	w.problem("/a", "a.test: fleet external: clients of port 0 are redirected to https, where they get an error")
	w.has(`relay_domains_without_certificate{fleet="external",wanted="true"} 1`,
		`relay_domains_without_certificate{fleet="external",wanted="false"} 1`,
		`relay_certificates_unused 2`, `seed.test.pem",source="dir"} 89.`,
		`"domain": "b.test"`, `"unused": true`, "in no domain's use", "Domains without a certificate")
	for _, unwanted := range []string{`old.pem",source="dir"`, `gone.pem",source="dir"`} {
		if strings.Contains(w.pages(), unwanted) {
			t.Errorf("a certificate in no domain's use has days to expiry: %s", unwanted)
		}
	}
	for _, p := range w.admin.problems() {
		if strings.Contains(p.Subject, "gone.pem") {
			t.Errorf("an unused certificate is a problem: %+v", p)
		}
	}
	if _, out, _ := w.explained("a.test"); !strings.Contains(out, "no certificate covers the name") || !strings.Contains(out, "redirected") {
		t.Errorf("explained by\n%s", out)
	}

	w.issue("a.test")
	w.hook("usr1")
	w.expect("https://a.test/", http.StatusOK, "/a")
	w.has(`relay_domains_without_certificate{fleet="external",wanted="true"} 0`, `a.test.pem",source="dir"} 89.`)
	if problems := w.problemsOf("/a"); len(problems) > 0 {
		t.Errorf("problems with a certificate: %+v", problems)
	}

	// A domain comes back to an old certificate.
	w.deploy(app("/old", "old.test", 1), app("/gone", "gone.test", 1))
	w.expect("https://old.test/", http.StatusOK, "/old")
	w.has(`old.pem",source="dir"} 0.`, `gone.pem",source="dir"} -0.`, `relay_certificates_unused 0`)
	w.problem("gone.pem", "expired")
	if strings.Contains(w.log.String(), "level=WARN") || strings.Contains(w.log.String(), "level=ERROR") {
		t.Error("something of this is logged as a warning")
	}
	w.stop()

	// The next Relay reads apps after certificates, and tells of both.
	w.startRelay()
	w.eventually("reminders", func() error {
		for _, name := range []string{"old", "gone"} {
			if !strings.Contains(w.log.String(), w.certs+"/"+name+".pem expires=") {
				return fmt.Errorf("nothing of %s", name)
			}
		}
		return nil
	})
}

// Relay says so before it serves, too.
func TestCheckTellsOfUncovered(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	w.issue("seed.test")
	args := []string{"check", "--marathon", w.marathon.URL(), "--https", w.https, "--certs-dir", w.certs}
	status, out, errs := command(t, args...)
	if want := "domains without a certificate: 1, such as a.test in fleet external: no certificate covers it"; status != 0 || !strings.Contains(out, want) {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	w.deploy(app("/a", "a.test", 1, "HAPROXY_0_REDIRECT_TO_HTTPS", "true"))
	if status, out, errs := command(t, args...); status != 1 || !strings.Contains(out, "wrong  fleet external: app /a: a.test: clients of port 0 are redirected") {
		t.Errorf("with a redirect: status %d, %s%s", status, out, errs)
	}
}
