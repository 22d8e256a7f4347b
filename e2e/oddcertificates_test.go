package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// What Envoy would reject is never sent to it. People are told of it, and of files that are
// not read, by the status page, the log and "relay check", in the same words. What is odd and
// Envoy serves is served.
func TestOddCertificates(t *testing.T) {
	w := newWorld(t)
	told := map[string]string{
		"staple.pem":  "must-staple",
		"usage.pem":   "lacks digitalSignature",
		"version.pem": "block 2 (CERTIFICATE) ignored: the extensions: it says that it is of X.509 version 1",
	}
	for file, odd := range map[string]string{
		"staple.pem": "must-staple", "usage.pem": "key usage of key exchange", "version.pem": "version 1 with extensions", "serial.pem": "serial number negative",
	} {
		w.certs.write(file, w.certs.ca.TestNamedOdd(t, odd).Bundle())
	}
	w.certs.write("lonely.crt", w.certs.ca.RootPEM())
	w.certs.issue("seed.test")
	w.marathon.deploy(app("/odd", "odd.test", 1))
	w.start()
	w.clients.expect("https://odd.test/", http.StatusOK, "/odd")
	for file, words := range told {
		w.admin.problem(file, words)
	}
	w.admin.problem(filepath.Base(w.certs.dir), `not read: "lonely.crt" (its key is not beside it: lonely.key)`)
	w.admin.settled()
	w.envoy.nothingRejected()

	log := w.relay.log.String()
	status, out, errs := command(t, "check", "--marathon", w.marathon.URL(), "--https", w.clients.https, "--certs-dir", w.certs.dir)
	if status != 1 {
		t.Errorf("relay check: status %d, %s", status, errs)
	}
	for _, p := range w.admin.problems() {
		if want := "wrong  " + p.Subject + ": " + p.Reason + "\n"; !strings.Contains(out, want) {
			t.Errorf("relay check does not say %q:\n%s", want, out)
		}
		if quoted := strings.ReplaceAll(p.Reason, `"`, `\"`); !strings.Contains(log, quoted) && !strings.Contains(log, p.Reason) {
			t.Errorf("the log does not say %q", p.Reason)
		}
	}
	if strings.Contains(out, "serial.pem") {
		t.Errorf("relay check says something of a certificate that is served:\n%s", out)
	}
}
