package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
)

// A certificate whose issuer has ended is told of, everywhere, loses to one that works, and
// has the days to expiry of its issuer. So is one that loses a name; that is no problem.
func TestIssuerHasEnded(t *testing.T) {
	w := newWorld(t)
	now := time.Now() // a day may end meanwhile
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	root := certstest.TestRoot(t, "Root", day(-900), day(900))
	ended, soon, good := root.Sub(t, "Ended", day(-400), day(-2)), root.Sub(t, "Soon", day(-400), day(20)), root.Sub(t, "Good", day(-400), day(900))
	put := func(file string, issuer *certstest.Authority, days int, names ...string) {
		w.certs.write(file, issuer.TestIssue(t, names, certstest.Options{NotBefore: day(-10), NotAfter: day(days)}).Bundle())
	}
	put("bad.pem", ended, 80, "choice.test", "alone.test")
	put("good.pem", good, 70, "choice.test")
	put("soon.pem", soon, 60, "soon.test")
	w.certs.put("rsa.pem", []string{"choice.test"}, certstest.Options{KeyType: certstest.RSA2048, NotAfter: day(40)})
	w.certs.put("shorter.pem", []string{"choice.test"}, certstest.Options{NotAfter: day(30)})
	w.marathon.deploy(app("/a", "choice.test,alone.test,soon.test", 1))
	w.relay.start()
	w.admin.awaitReady()

	w.admin.problem("bad.pem", `with its issuer "CN=Ended" and is served all the same: nothing else covers alone.test`)
	for file, days := range map[string]int{"bad.pem": -2, "soon.pem": 20, "good.pem": 70, "rsa.pem": 40} {
		w.admin.expires(filepath.Join(w.certs.dir, file), day(days))
	}
	w.admin.has("expires with its issuer CN=Ended", `"endsWithIssuer": "CN=Soon"`, `"key": "RSA"`,
		"shorter.pem", "good.pem is, as it is valid for longer", fmt.Sprintf("good.pem is, as this one expired on %s with its issuer", day(-2).UTC().Format(time.DateOnly)))
	if problems := w.admin.problems(); len(problems) != 1 {
		t.Errorf("problems: %+v", problems)
	}
	for host, words := range map[string][]string{
		"choice.test": {"good.pem for choice.test, valid", "or certificate dir/", "rsa.pem for choice.test, valid", "with its issuer CN=Ended: it is expired", "shorter.pem for choice.test, valid"},
		"alone.test":  {"bad.pem for alone.test, expired", "expired with its issuer CN=Ended: clients will refuse it"},
	} {
		_, out, _ := w.admin.explain(host)
		for _, want := range words {
			if !strings.Contains(out, want) {
				t.Errorf("%s is explained by\n%s\nwant %q in it", host, out, want)
			}
		}
	}
	status, out, errs := command(t, "check", "--marathon", w.marathon.URL(), "--https", w.clients.https, "--certs-dir", w.certs.dir)
	for _, want := range []string{"bad.pem: expired on", "such as alone.test in fleet external: the certificate dir/", "has expired with its issuer CN=Ended", "note   dir/", "shorter.pem: not served for choice.test"} {
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("check: status %d, want %q in\n%s%s", status, want, out, errs)
		}
	}
	w.eventually("the log speaks of the issuer", func() error {
		if log := w.relay.log.String(); !strings.Contains(log, `with_issuer="CN=Ended"`) && !strings.Contains(log, `with_issuer=CN=Ended`) {
			return fmt.Errorf("nothing in the log")
		}
		return nil
	})
}
