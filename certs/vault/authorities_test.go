package vault

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
)

func (f *fakeVault) storeAuthority(name string, fields map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.authorities[name] = append(f.authorities[name], fields)
}

func testRoot(t testing.TB, name string) *certstest.Authority {
	t.Helper()
	return certstest.TestRoot(t, name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(5, 0, 0))
}

func (w *world) revoked(name string, want int) {
	w.Helper()
	a := w.sink.Last().Authority(name)
	switch {
	case a == nil && want >= 0:
		w.Errorf("the authority %s is not there: %s", name, w.sink.Last().AuthorityProblem(name))
	case a != nil && a.RevokedCount != want:
		w.Errorf("%s has %d revoked certificates, want %d", name, a.RevokedCount, want)
	}
}

func (w *world) authorityProblem(want string) {
	w.Helper()
	if got := w.sink.Last().AuthorityProblem(""); !strings.Contains(got, want) || want == "" && got != "" {
		w.Errorf("the problems of authorities are %q, want %q", got, want)
	}
}

// A newer list counts at once after a hook; one that is broken, older or gone changes nothing.
func TestAuthorityInVault(t *testing.T) {
	root := testRoot(t, "devices")
	pem := string(root.PEM())
	inWorld(t, func(w *world) {
		w.vault.storeAuthority("devices", map[string]string{"certificates": pem, "crl": string(root.TestRevoke(w.T, certstest.ListOptions{Number: 2}, 5))})
	}, func(w *world) {
		w.revoked("devices", 1)
		w.authorityProblem("")
		newest := string(root.TestRevoke(w.T, certstest.ListOptions{ThisUpdate: time.Now(), Number: 3}, 5, 6))
		w.vault.storeAuthority("devices", map[string]string{"certificates": pem, "crl": newest})
		if err := w.reload(); err != nil {
			w.Error(err)
		}
		w.revoked("devices", 2)
		for _, test := range []struct {
			fields map[string]string
			want   string
		}{
			{map[string]string{"certificates": pem, "crl": newest[:len(newest)-40]}, "broken"},
			{map[string]string{"certificates": pem, "crl": ""}, "no revocation list"},
			{map[string]string{"certificates": pem}, "is gone"},
			{map[string]string{"certificates": pem, "crl": string(root.TestRevoke(w.T, certstest.ListOptions{Number: 2}, 5))}, "older than the one in use"},
			{map[string]string{"certificate": pem, "crl": newest}, `no field "certificates"`},
			{map[string]string{"certificates": "none", "crl": newest}, "no certificate in PEM"},
			{map[string]string{"certificates": pem, "crl": newest}, ""},
		} {
			w.vault.storeAuthority("devices", test.fields)
			w.sleep(nextPoll)
			w.revoked("devices", 2)
			w.authorityProblem(test.want)
		}
	})
}

// Authorities that are deleted go after two reads; all of them after more, as Vault may be behind.
func TestAuthorityGoesFromVault(t *testing.T) {
	one, two := testRoot(t, "one"), testRoot(t, "two")
	inWorld(t, func(w *world) {
		w.vault.storeAuthority("one", map[string]string{"certificates": string(one.PEM())})
		w.vault.storeAuthority("two", map[string]string{"certificates": string(two.PEM())})
	}, func(w *world) {
		w.vault.change(func(f *fakeVault) { f.authorities["two"] = append(f.authorities["two"], nil) })
		w.sleep(nextPoll)
		w.revoked("two", 0)
		w.authorityProblem("is gone")
		w.sleep(nextPoll)
		w.revoked("two", -1)
		w.revoked("one", 0)
		w.vault.change(func(f *fakeVault) { clear(f.authorities) })
		for range removalReads {
			w.sleep(nextPoll)
			w.revoked("one", 0)
		}
		w.sleep((suspiciousReads + 1) * nextPoll)
		w.revoked("one", -1)
		w.authorityProblem("")
	})
}

// Where the policy says nothing of authorities, all else works, and Vault is not asked each time.
func TestAuthoritiesAreDenied(t *testing.T) {
	denied := denied("data/authorities", "metadata/authorities")
	root := testRoot(t, "devices")
	inWorld(t, func(w *world) {
		w.vault.intercept = denied
		w.vault.storeAuthority("devices", map[string]string{"certificates": string(root.PEM())})
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
	}, func(w *world) {
		w.names("a.test")
		w.revoked("devices", -1)
		w.authorityProblem("the right to list authorities")
		if got := w.sink.Last().Problems; len(got) != 0 {
			w.Errorf("certificates have the problems %v", got)
		}
		w.vault.take()
		for range deniedReads {
			w.sleep(nextPoll)
		}
		if n := countPrefix(w.vault.take(), "GET /v1/secret/metadata"); n > 1 {
			w.Errorf("Vault was asked %d times for what it denies", n)
		}
		w.vault.change(func(f *fakeVault) { f.intercept = nil })
		if err := w.reload(); err != nil {
			w.Error(err)
		}
		w.revoked("devices", 0)
		// From now on a denial is a failure: what is known stays.
		w.vault.change(func(f *fakeVault) { f.intercept = denied })
		if err := w.reload(); err == nil {
			w.Error("the hook is told of success")
		}
		w.revoked("devices", 0)
		w.authorityProblem("stays in use")
		w.names("a.test")
	})
}

// While authorities cannot be read at the start, the sink is told of certificates alone: another
// answer, such as a saved one, may stand in for them.
func TestAuthoritiesFailAtTheStart(t *testing.T) {
	root := testRoot(t, "devices")
	inWorld(t, func(w *world) {
		w.vault.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/data/authorities/") {
				reply(rw, http.StatusServiceUnavailable, `{"errors":["sealed"]}`)
				return true
			}
			return false
		}
		w.vault.storeAuthority("devices", map[string]string{"certificates": string(root.PEM())})
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
	}, func(w *world) {
		w.names("a.test")
		if w.source.authorities.complete {
			w.Error("authorities that were not read count as read")
		}
		w.vault.change(func(f *fakeVault) { f.intercept = nil })
		w.sleep(5 * time.Second)
		w.revoked("devices", 0)
	})
}

// A list that is not valid yet counts from then on, to the second, though Vault is away.
func TestListBeginsWhileVaultIsAway(t *testing.T) {
	root := testRoot(t, "devices")
	pem := string(root.PEM())
	inWorld(t, func(w *world) {
		w.vault.storeAuthority("devices", map[string]string{"certificates": pem, "crl": string(root.TestRevoke(w.T, certstest.ListOptions{}, 5))})
	}, func(w *world) {
		begins := time.Now().Add(10*poll + poll/2).Truncate(time.Second)
		w.vault.storeAuthority("devices", map[string]string{"certificates": pem, "crl": string(root.TestRevoke(w.T, certstest.ListOptions{ThisUpdate: begins, Number: 2}, 5, 6))})
		w.sleep(2 * poll)
		w.authorityProblem("not valid before")
		w.vault.change(func(f *fakeVault) {
			f.intercept = func(rw http.ResponseWriter, _ *http.Request) bool {
				reply(rw, http.StatusServiceUnavailable, `{"errors":["Vault is sealed"]}`)
				return true
			}
		})
		w.sleep(time.Until(begins) - time.Second)
		w.revoked("devices", 1)
		w.sleep(2 * time.Second)
		w.revoked("devices", 2)
	})
}

// An older version, as a node that is behind gives it, replaces nothing before several reads agree.
func TestAuthorityOfANodeThatIsBehind(t *testing.T) {
	old, next := testRoot(t, "devices"), testRoot(t, "devices 2")
	inWorld(t, func(w *world) {
		w.vault.storeAuthority("devices", map[string]string{"certificates": string(old.PEM())})
		w.vault.storeAuthority("devices", map[string]string{"certificates": string(next.PEM())})
	}, func(w *world) {
		has := func(want *certstest.Authority) {
			w.Helper()
			if got := w.sink.Last().Authority("devices"); got == nil || string(got.Certificates) != string(want.PEM()) {
				w.Error("another authority is served")
			}
		}
		has(next)
		w.vault.change(func(f *fakeVault) { f.authorities["devices"] = f.authorities["devices"][:1] })
		for range suspiciousReads {
			w.sleep(nextPoll)
			has(next)
		}
		w.authorityProblem("not believed yet")
		w.sleep(nextPoll)
		has(old)
	})
}

func FuzzAuthorityName(f *testing.F) {
	for _, name := range []string{"devices", "../live", "a/b", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkAuthorityName(name) == nil && (strings.Contains(name, "/") || strings.Contains(name, "..") || len(name) > maxName || name == "") {
			t.Errorf("%q is taken", name)
		}
	})
}

var _ certs.StoreSink = certstest.NewSink()
