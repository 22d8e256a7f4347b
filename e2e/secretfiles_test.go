package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/certs/certstest"
)

// A secret that others on the machine can read is told in the log, on the page
// and by relay check; on the page for as long as it is so.
func TestSecretsOpenToOthers(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.relay.config.Admin.TLS.CertFile, w.relay.config.Admin.TLS.KeyFile = w.certs.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, dir)
	w.relay.config.Admin.TokenFile = filepath.Join(dir, "token")
	if err := os.WriteFile(w.relay.config.Admin.TokenFile, []byte(hushToken), 0o600); err != nil {
		t.Fatal(err)
	}
	mode := func(mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(w.relay.config.Admin.TokenFile, mode); err != nil {
			t.Fatal(err)
		}
	}
	apps := filepath.Join(dir, "apps.yaml")
	if err := os.WriteFile(apps, []byte("apps: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := []string{"check", "--source-file", apps, "--admin-cert", w.relay.config.Admin.TLS.CertFile, "--admin-key", w.relay.config.Admin.TLS.KeyFile, "--admin-token-file", w.relay.config.Admin.TokenFile}
	const want = "can be read by everyone on the machine (mode 0644): chmod 0640"
	if status, out, errs := command(t, check...); status != 0 || strings.Contains(out, want) {
		t.Errorf("relay check: status %d: %s%s", status, out, errs)
	}
	mode(0o644)
	if status, out, _ := command(t, check...); status == 0 || !strings.Contains(out, "wrong  admin-token-file: "+w.relay.config.Admin.TokenFile+" "+want) {
		t.Errorf("relay check: status %d: %s", status, out)
	}
	w.relay.start()
	w.admin.problem("admin-token-file", want)
	w.eventually("it serves", func() error {
		if !strings.Contains(w.relay.log.String(), "msg=serving") {
			return errors.New("it does not yet")
		}
		return nil
	})
	if text := w.relay.log.String(); strings.Count(text, want) != 1 || strings.Contains(text, hushToken) {
		t.Errorf("the log should tell it once:\n%s", text)
	}
	mode(0o640)
	for _, p := range w.admin.problems() {
		if strings.Contains(p.Reason, "can be read by everyone") {
			t.Errorf("a problem that is none any more: %+v", p)
		}
	}
}
