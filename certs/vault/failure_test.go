package vault

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs/certstest"
	"relay/internal/logtest"
)

func TestAnswersThatAreFailures(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"404 with errors":    {404, `{"errors":["no handler for route \"x\""]}`, "no handler"},
		"404 of a proxy":     {404, `<html>not found</html>`, "is this Vault's address"},
		"200 of a proxy":     {200, `<html>welcome</html>`, "is this Vault's address"},
		"200 without KV v2":  {200, `{"data":{"a.test":"{}"}}`, "not one of KV version 2"},
		"forbidden":          {403, `{"errors":["permission denied"]}`, "lacks the right"},
		"bad request":        {400, `{"errors":["bad"]}`, "Vault answered 400: bad"},
		"sealed":             {503, `{"errors":["Vault is sealed"]}`, "Vault is sealed"},
		"replica behind":     {412, `{"errors":["required index state not present"]}`, "412"},
		"quota":              {429, `{"errors":["request path: rate limit quota exceeded"]}`, "quota"},
		"no body":            {500, ``, "Vault answered 500"},
		"connection breaks":  {0, ``, "EOF"},
		"the token repeated": {400, `{"errors":["hush-token is odd"]}`, "REDACTED is odd"},
	} {
		t.Run(name, func(t *testing.T) {
			var issued *certstest.Issued
			inWorld(t, func(w *world) {
				issued = w.issue("a.test")
				w.vault.publish(w.T, "a.test", issued)
			}, func(w *world) {
				count := w.sink.Last().Count
				w.vault.change(func(f *fakeVault) {
					f.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
						if test.status == 0 {
							panic(http.ErrAbortHandler)
						}
						if strings.HasSuffix(r.URL.Path, "/live") {
							reply(rw, test.status, test.body)
							return true
						}
						return false
					}
				})
				err := w.reload()
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("got %v, want an error with %q", err, test.want)
				}
				w.sleep(24 * time.Hour)
				if w.sink.Last().Count != count {
					t.Error("a failed read reached the sink")
				}
				status := w.source.Status()
				if !strings.Contains(status.LastError, test.want) || status.Certificates != 1 {
					t.Errorf("status %+v", status)
				}
				w.vault.change(func(f *fakeVault) { f.intercept = nil })
				w.sleep(nextPoll)
				if w.source.Status().LastError != "" {
					t.Error("it did not recover")
				}
				w.serves("a.test", issued)
				if strings.Contains(w.logs.String()+err.Error()+status.LastError, "hush-token") {
					t.Error("the token was told")
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
		w.vault.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			rw.Header().Set("Retry-After", "300")
			reply(rw, 429, `{"errors":["slow down"]}`)
			return true
		}
	}, func(w *world) {
		w.vault.change(func(f *fakeVault) { f.requests = nil })
		w.sleep(299 * time.Second)
		if requests := w.vault.take(); len(requests) != 0 {
			t.Errorf("asked before its time: %q", requests)
		}
		w.vault.change(func(f *fakeVault) { f.intercept = nil })
		w.sleep(2 * time.Second)
		w.names("a.test")
	})
}

func TestRetriesBackOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			reply(rw, 500, `{"errors":["internal"]}`)
			return true
		}
	}, func(w *world) {
		w.sleep(10 * time.Minute)
		// 1, 2, 4, 8, 16 and 32 s, then about once a poll.
		if n := len(w.vault.take()); n < 14 || n > 24 {
			t.Errorf("%d requests in ten minutes", n)
		}
	})
}

func TestFirstReadWaitsForAllCertificates(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 20 {
			name := fmt.Sprintf("n%d.test", i)
			w.vault.publish(w.T, name, w.issue(name))
		}
		failures := 0
		w.vault.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/n7.test") && failures < 2 {
				failures++
				reply(rw, 500, `{"errors":["storage"]}`)
				return true
			}
			return false
		}
	}, func(w *world) {
		if w.sink.Last().Count != 0 {
			t.Fatal("an incomplete first read reached the sink")
		}
		if got := w.source.Status().LastError; !strings.Contains(got, "1 of 20") {
			t.Errorf("last error %q", got)
		}
		w.vault.take()
		w.sleep(5 * time.Second)
		if n := len(w.sink.Last().Names()); n != 20 {
			t.Errorf("%d names", n)
		}
		if n := countPrefix(w.vault.take(), "GET /v1/secret/data/certificates/"); n > 2 {
			t.Errorf("%d certificates were read again for one that was missing", n)
		}
	})
}

func TestOneUnreadableCertificateCostsOnlyItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
		w.vault.publish(w.T, "b.test", w.issue("b.test"))
		w.vault.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/b.test") {
				reply(rw, 500, `{"errors":["storage"]}`)
				return true
			}
			return false
		}
	}, func(w *world) {
		w.sleep(nextPoll)
		w.names("a.test")
		w.problem("b.test", "storage")
		if err := w.reload(); err == nil || !strings.Contains(err.Error(), "none of the 1 changed") {
			t.Errorf("the reload that read nothing answered %v", err)
		}
	})
}

func TestMounts(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		mount  string
		path   string // of live, when it is asked for
		want   string // in the error
	}{
		"below a mount":       {200, `{"data":{"path":"kv/","type":"kv","options":{"version":"2"}}}`, "/kv/team/acme/", "/v1/kv/data/team/acme/live", ""},
		"a mount with a path": {200, `{"data":{"path":"kv/team/","type":"kv","options":{"version":"2"}}}`, "kv/team", "/v1/kv/team/data/live", ""},
		"not allowed to ask":  {403, `{"errors":["preflight capability check returned 403"]}`, "kv/team", "/v1/kv/team/data/live", ""},
		"an old Vault":        {404, `{"errors":["no handler"]}`, "kv", "/v1/kv/data/live", ""},
		"version 1":           {200, `{"data":{"path":"kv/","type":"kv","options":{"version":"1"}}}`, "kv", "", "not KV version 2"},
		"no version":          {200, `{"data":{"path":"kv/","type":"kv","options":null}}`, "kv", "", "not KV version 2"},
		"another engine":      {200, `{"data":{"path":"pki/","type":"pki","options":null}}`, "pki", "", `type "pki"`},
		"sealed":              {503, `{"errors":["Vault is sealed"]}`, "kv", "", "sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := make(chan string, 100)
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/"):
						reply(w, test.status, test.body)
					case strings.HasSuffix(r.URL.Path, "/live"):
						asked <- r.URL.Path
						reply(w, 404, `{"errors":[]}`)
					default:
						reply(w, 200, `{"data":{"ttl":0,"renewable":false}}`)
					}
				})
				sink := certstest.NewSink()
				net := newNetwork(t, map[string]http.Handler{"vault.test": handler})
				s := start(t, Config{Addresses: []string{"http://vault.test"}, Mount: test.mount, Token: "hush-token", dial: net.dial}, sink, &logtest.Buffer{})
				synctest.Wait()
				if test.want != "" {
					if got := s.Status().LastError; !strings.Contains(got, test.want) || len(asked) > 0 {
						t.Errorf("error %q, want %q", got, test.want)
					}
					return
				}
				if got := <-asked; got != test.path {
					t.Errorf("asked for %s, want %s", got, test.path)
				}
			})
		})
	}
}

// Who was not allowed to ask where the mount ends asks again after a failure.
func TestMountIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var allowed atomic.Bool
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !allowed.Load():
				reply(w, 403, `{"errors":["permission denied"]}`)
			case strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/"):
				reply(w, 200, `{"data":{"path":"kv/","type":"kv","options":{"version":"2"}}}`)
			case r.URL.Path == "/v1/kv/data/team/live":
				reply(w, 404, `{"errors":[]}`)
			default:
				reply(w, 403, `{"errors":["permission denied"]}`)
			}
		})
		net := newNetwork(t, map[string]http.Handler{"vault.test": handler})
		s := start(t, Config{Addresses: []string{"http://vault.test"}, Mount: "kv/team", Token: "hush-token", dial: net.dial}, certstest.NewSink(), &logtest.Buffer{})
		if err := s.Reload(t.Context()); err == nil {
			t.Error("no error without the right")
		}
		allowed.Store(true)
		if err := s.Reload(t.Context()); err != nil {
			t.Errorf("with the right: %v", err)
		}
	})
}

func TestFailover(t *testing.T) {
	unavailable := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reply(w, 503, `{"errors":["Vault is sealed"]}`) })
	redirectTo := func(host string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+host+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		})
	}
	dies := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("{"))
		panic(http.ErrAbortHandler)
	})
	for name, test := range map[string]struct {
		first     http.Handler // at first.test; nil refuses connections
		addresses []string
		want      string // in the error; empty when the second node is found
	}{
		"refused":                    {nil, []string{"http://first.test", "http://second.test"}, ""},
		"sealed":                     {unavailable, []string{"http://first.test", "http://second.test"}, ""},
		"dies in the answer":         {dies, []string{"http://first.test", "http://second.test"}, ""},
		"standby points to a node":   {redirectTo("second.test"), []string{"http://first.test", "http://second.test"}, ""},
		"standby points elsewhere":   {redirectTo("evil.test"), []string{"http://first.test", "http://second.test"}, ""},
		"standby elsewhere, no node": {redirectTo("evil.test"), []string{"http://first.test"}, "redirects to http://evil.test"},
		"a loop":                     {redirectTo("first.test"), []string{"http://first.test"}, "redirects to"},
		"all sealed":                 {unavailable, []string{"http://first.test", "http://nowhere.test"}, "sealed"},
		"all refused":                {nil, []string{"http://first.test", "http://nowhere.test"}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				vault := newFakeVault()
				vault.publish(t, "a.test", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}))
				stolen := make(chan string, 100)
				hosts := map[string]http.Handler{
					"second.test": vault,
					"evil.test":   http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("X-Vault-Token") }),
				}
				if test.first != nil {
					hosts["first.test"] = test.first
				}
				sink := certstest.NewSink()
				s := start(t, Config{Addresses: test.addresses, Token: "hush-token", dial: newNetwork(t, hosts).dial}, sink, &logtest.Buffer{})
				synctest.Wait()
				if len(stolen) > 0 {
					t.Error("the token went to a host that is not configured")
				}
				status := s.Status()
				if test.want == "" && status.Certificates != 1 || !strings.Contains(status.LastError, test.want) {
					t.Errorf("status %+v, want an error with %q", status, test.want)
				}
			})
		})
	}
}

func TestACertificateThatThePolicyHides(t *testing.T) {
	inWorld(t, func(w *world) {
		w.vault.publish(w.T, "a.test", w.issue("a.test"))
		w.vault.publish(w.T, "b.test", w.issue("b.test"))
		w.vault.intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/b.test") {
				reply(rw, 403, `{"errors":["permission denied"]}`)
				return true
			}
			return false
		}
	}, func(w *world) {
		w.sleep(nextPoll)
		w.names("a.test")
		w.problem("b.test", "403")
	})
}
