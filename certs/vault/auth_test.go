package vault

import (
	"encoding/json"
	"fmt"
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

// tokens is a Vault with tokens that live for a while.
type tokens struct {
	*fakeVault
	ttl       time.Duration
	renewable bool
	issued    time.Time
	expires   time.Time
	maxLife   time.Duration
	logins    int
	renewals  int
}

func (v *tokens) intercepts(w http.ResponseWriter, r *http.Request) bool {
	now := time.Now()
	token := r.Header.Get("X-Vault-Token")
	auth := func() {
		body, _ := json.Marshal(map[string]any{"auth": map[string]any{
			"client_token": v.token(), "lease_duration": int(v.expires.Sub(now).Seconds()), "renewable": v.renewable,
		}})
		reply(w, 200, string(body))
	}
	switch {
	case r.URL.Path == "/v1/auth/approle/login":
		v.logins++
		v.issued, v.expires = now, now.Add(v.ttl)
		auth()
		return true
	case token != v.token() || !now.Before(v.expires):
		reply(w, 403, `{"errors":["permission denied"]}`)
		return true
	case r.URL.Path == "/v1/auth/token/renew-self":
		v.renewals++
		v.expires = now.Add(v.ttl)
		if limit := v.issued.Add(v.maxLife); v.maxLife > 0 && limit.Before(v.expires) {
			v.expires = limit
		}
		auth()
		return true
	case r.URL.Path == "/v1/auth/token/lookup-self":
		reply(w, 200, fmt.Sprintf(`{"data":{"ttl":%d,"renewable":%v}}`, int(v.expires.Sub(now).Seconds()), v.renewable))
		return true
	}
	return false
}

func (v *tokens) token() string { return fmt.Sprintf("hush-token-%d", v.logins) }

func TestTokenLife(t *testing.T) {
	role := Config{AppRole: AppRole{RoleID: "role", SecretID: "hush-secret"}}
	for name, test := range map[string]struct {
		config    Config
		renewable bool
		maxLife   time.Duration
		run       time.Duration
		logins    [2]int // least and most
		renewals  [2]int
		problem   string
	}{
		"a renewable one lives on":              {Config{Token: "hush-token-0"}, true, 0, 24 * time.Hour, [2]int{0, 0}, [2]int{35, 40}, ""},
		"one that cannot be renewed is told of": {Config{Token: "hush-token-0"}, false, 0, 50 * time.Minute, [2]int{0, 0}, [2]int{0, 0}, "replace it"},
		"one near its maximum is told of":       {Config{Token: "hush-token-0"}, true, 2 * time.Hour, 118 * time.Minute, [2]int{0, 0}, [2]int{3, 20}, "replace it"},
		"a role's is renewed":                   {role, true, 0, 24 * time.Hour, [2]int{1, 1}, [2]int{35, 40}, ""},
		"a role's maximum ends in a login":      {role, true, 3 * time.Hour, 24 * time.Hour, [2]int{7, 12}, [2]int{20, 50}, ""},
		"a role's that cannot be renewed":       {role, false, 0, 24 * time.Hour, [2]int{35, 41}, [2]int{0, 0}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := &tokens{fakeVault: newFakeVault(), ttl: time.Hour, renewable: test.renewable, maxLife: test.maxLife}
				v.issued, v.expires = time.Now(), time.Now().Add(v.ttl)
				v.intercept = v.intercepts
				v.publish(t, "a.test", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}))
				config := test.config
				config.Addresses, config.dial = []string{"http://vault.test"}, newNetwork(t, map[string]http.Handler{"vault.test": v}).dial
				sink, logs := certstest.NewSink(), &logtest.Buffer{}
				s := start(t, config, sink, logs)
				time.Sleep(test.run)
				synctest.Wait()
				if got := s.Status(); got.LastError != "" || got.Certificates != 1 {
					t.Errorf("status %+v", got)
				}
				if v.logins < test.logins[0] || v.logins > test.logins[1] {
					t.Errorf("%d logins, want %v", v.logins, test.logins)
				}
				if v.renewals < test.renewals[0] || v.renewals > test.renewals[1] {
					t.Errorf("%d renewals, want %v", v.renewals, test.renewals)
				}
				if got := sink.Last().Problem("token"); (got == "") != (test.problem == "") || !strings.Contains(got, test.problem) {
					t.Errorf("problem %q, want %q", got, test.problem)
				}
				if strings.Contains(logs.String(), "hush-") {
					t.Errorf("a secret was logged: %s", logs.String())
				}
			})
		})
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		v := &tokens{fakeVault: newFakeVault(), ttl: time.Hour}
		v.issued, v.expires = time.Now(), time.Now().Add(v.ttl)
		v.intercept = v.intercepts
		v.publish(t, "a.test", certstest.TestCA(t).TestIssue(t, []string{"a.test"}, options{}))
		net := newNetwork(t, map[string]http.Handler{"vault.test": v})
		s := start(t, Config{Addresses: []string{"http://vault.test"}, TokenFile: file, dial: net.dial}, certstest.NewSink(), &logtest.Buffer{})
		steps := []struct {
			do   func()
			want string
		}{
			{func() {}, "no such file"},
			{func() { write("") }, "is empty"},
			{func() { write("hush-token-0\n") }, ""},
			{func() { write("") }, ""}, // it is being rewritten: the old one still works
			{func() { v.change(func(*fakeVault) { v.logins++ }) }, "403"},
			{func() { write("hush-token-1") }, ""},
			{func() { write("hush-token-2") }, "403"}, // taken though the old one still works
			{func() { write("hush-token-1") }, ""},
		}
		for i, step := range steps {
			step.do()
			err := s.Reload(t.Context())
			if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
				t.Fatalf("step %d: %v, want %q", i, err, step.want)
			}
		}
	})
}

func TestTokenDiesInTheMiddleOfARead(t *testing.T) {
	t.Parallel()
	secretFile := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(secretFile, []byte("hush-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ca := certstest.TestCA(t)
		v := &tokens{fakeVault: newFakeVault(), ttl: time.Hour}
		died := false
		v.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/certificates/") && !died {
				died, v.expires = true, time.Now()
			}
			return v.intercepts(w, r)
		}
		for _, name := range []string{"a.test", "b.test", "c.test"} {
			v.publish(t, name, ca.TestIssue(t, []string{name}, options{}))
		}
		net := newNetwork(t, map[string]http.Handler{"vault.test": v})
		sink := certstest.NewSink()
		config := Config{Addresses: []string{"http://vault.test"}, AppRole: AppRole{RoleID: "role", SecretIDFile: secretFile, Mount: "/approle/"}, dial: net.dial}
		start(t, config, sink, &logtest.Buffer{})
		synctest.Wait()
		if last := sink.Last(); len(last.Names()) != 3 || last.Count != 1 || v.logins != 2 {
			t.Errorf("%d logins, names %q, %d syncs", v.logins, last.Names(), last.Count)
		}
	})
}
