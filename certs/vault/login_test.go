package vault

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs/certstest"
	"relay/internal/logtest"
)

// serveTokens runs a source against a fake that gives out tokens.
func serveTokens(t *testing.T, v *tokens, config Config) (*Source, *certstest.Sink, *logtest.Buffer) {
	t.Helper()
	if v.intercept == nil {
		v.intercept = v.intercepts
	}
	config.Addresses, config.dial = []string{"http://vault.test"}, newNetwork(t, map[string]http.Handler{"vault.test": v}).dial
	sink, logs := certstest.NewSink(), &logtest.Buffer{}
	s := start(t, config, sink, logs)
	synctest.Wait()
	return s, sink, logs
}

func TestNamespaceIsInEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &tokens{fakeVault: newFakeVault(), ttl: time.Hour, renewable: true}
		v.publish(t, "a.test", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}))
		seen := make(map[string]bool)
		v.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			seen[r.URL.Path] = true
			if got := r.Header.Get("X-Vault-Namespace"); got != "team/edge" {
				t.Errorf("%s: namespace %q", r.URL.Path, got)
			}
			return v.intercepts(w, r)
		}
		_, sink, _ := serveTokens(t, v, Config{Namespace: "team/edge", AppRole: AppRole{RoleID: "role", SecretID: "hush-secret"}})
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, path := range []string{"/v1/auth/approle/login", "/v1/auth/token/renew-self", "/v1/secret/data/live", "/v1/secret/data/certificates/a.test"} {
			if !seen[path] {
				t.Errorf("there was no request of %s", path)
			}
		}
		if len(sink.Last().Names()) != 1 {
			t.Errorf("names %q", sink.Last().Names())
		}
	})
}

// A role without the right would leave a token behind with every read.
func TestLoginsAreFewWhileTheRightIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &tokens{fakeVault: newFakeVault(), ttl: 24 * time.Hour, renewable: true}
		v.publish(t, "a.test", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}))
		allowed := 0 // the first login whose token has the right; 0 for none
		v.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/live") && (allowed == 0 || v.logins < allowed) {
				reply(w, 403, `{"errors":["permission denied"]}`)
				return true
			}
			return v.intercepts(w, r)
		}
		s, sink, _ := serveTokens(t, v, Config{AppRole: AppRole{RoleID: "role", SecretID: "hush-secret"}})
		time.Sleep(time.Hour)
		synctest.Wait()
		if v.logins < 10 || v.logins > 13 {
			t.Errorf("%d logins in an hour, want one in five minutes", v.logins)
		}
		if got := s.Status().LastError; !strings.Contains(got, "is valid but lacks the right") {
			t.Errorf("last error %q", got)
		}
		v.change(func(*fakeVault) { allowed = v.logins + 1 }) // the role gets another policy
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if len(sink.Last().Names()) != 1 {
			t.Error("a token with the new policy was not asked for")
		}
	})
}

func TestCredentialFilesAreReadAtEachLogin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "credential")
	write := func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, config := range map[string]Config{
		"/v1/auth/approle/login":    {AppRole: AppRole{RoleID: "role", SecretIDFile: file}},
		"/v1/auth/kubernetes/login": {Kubernetes: Kubernetes{Role: "role", TokenFile: file}},
		"/v1/auth/k8s/edge/login":   {Kubernetes: Kubernetes{Role: "role", TokenFile: file, Mount: "/k8s/edge/"}},
	} {
		t.Run(path, func(t *testing.T) {
			write(t, "hush-1\n")
			synctest.Test(t, func(t *testing.T) {
				v := &tokens{fakeVault: newFakeVault(), ttl: time.Hour}
				var sent []string
				v.intercept = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == path {
						body, _ := io.ReadAll(r.Body)
						sent = append(sent, string(body))
						r.URL.Path = "/v1/auth/approle/login"
					}
					return v.intercepts(w, r)
				}
				s, _, logs := serveTokens(t, v, config)
				write(t, "hush-2")
				v.change(func(*fakeVault) { v.expires = time.Now() })
				if err := s.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(sent) != 2 || !strings.Contains(sent[0], `"hush-1"`) || !strings.Contains(sent[1], `"hush-2"`) {
					t.Errorf("logged in with %q", sent)
				}
				if strings.Contains(logs.String(), "hush-") {
					t.Errorf("a credential was logged: %s", logs)
				}
			})
		})
	}
}
