package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
)

// plainly answers with a status and a text.
func plainly(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Each command says what went wrong, and what to do, and ends with the status for it.
func TestAnswersThatFail(t *testing.T) {
	commands := map[string][]string{
		"status": {"status"}, "apps": {"apps"}, "apps/a": {"app", "/a"}, "domains": {"domains"}, "domains/a.test": {"domain", "a.test"}, "envoys": {"envoys"},
		"certificates": {"certs"}, "problems": {"problems"}, "changes": {"changes"}, "failures": {"failures"}, "diff": {"diff", "/a"},
		"config-dump": {"config-dump", "f"}, "events": {"watch"}, "tail": {"tail", "/a"}, "explain": {"explain", "a.test"},
	}
	old := `{"error": "nothing at /api/v1/x: there are /api/v1/apps, certificates and others"}`
	for path, args := range commands {
		for _, tt := range []struct {
			answer http.HandlerFunc
			status int
			want   string
		}{
			{plainly(404, "application/json", old), statusWrong, "has no /api/v1/" + path + ": it is older than this command"},
			{plainly(404, "text/html", "<h1>lost</h1>"), statusUnreachable, "is it Relay's admin endpoint"},
			{plainly(200, "text/html", "<h1>Log in</h1>"), statusUnreachable, "is it Relay's admin endpoint"},
			{plainly(302, "text/html", "<h1>Log in</h1>"), statusUnreachable, "is it Relay's admin endpoint"},
			{plainly(401, "text/plain", "a token is needed"), statusWrong, "give --admin-token-file"},
			{plainly(403, "text/plain", "not by this name\x1b[2J"), statusWrong, `not by this name\x1b[2J`},
			{plainly(500, "text/plain", "cannot encode the answer"), statusWrong, "cannot encode the answer"},
			{plainly(400, "application/json", `{"error": "there is no sort x"}`), statusWrong, "there is no sort x"},
		} {
			f := newFakeRelay(t)
			f.Config.Handler = tt.answer
			status, out, errs := command(t, args...)
			want := tt.want
			if path == "domains/a.test" && strings.Contains(want, "has no /api") {
				want = "has no /api/v1/explain" // it asks for that instead
			}
			if status != tt.status || !strings.Contains(errs, want) || out != "" {
				t.Errorf("relay %q: status %d, want %d and %q: %s%s", args, status, tt.status, want, out, errs)
			}
		}
		t.Setenv("RELAY_ADMIN", nobody(t))
		if status, out, errs := command(t, args...); status != statusUnreachable || !strings.Contains(errs, "is relay serve running") {
			t.Errorf("relay %q to nobody: status %d: %s%s", args, status, out, errs)
		}
	}
}

// An older Relay without the domain's page has its explanation.
func TestDomainOfAnOlderRelay(t *testing.T) {
	f := newFakeRelay(t)
	f.answers["domains/cart.test"] = plainly(404, "application/json", `{"error": "nothing at /api/v1/domains/cart.test"}`)
	if status, out, errs := command(t, "domain", "cart.test"); status != 0 || !strings.HasPrefix(out, "cart.test\n\ncart.test in fleet external") {
		t.Errorf("status %d: %s%s", status, out, errs)
	}
}

func TestNoAnswerInTime(t *testing.T) {
	f := newFakeRelay(t)
	held := make(chan struct{})
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-held:
		}
	})
	defer close(held)
	for _, args := range [][]string{{"apps"}, {"watch"}, {"config-dump", "f"}} {
		began := time.Now()
		status, out, errs := command(t, append(args, "--admin-timeout", "30ms")...)
		if status != statusUnreachable || !strings.Contains(errs, "no answer within 30ms (--admin-timeout)") || time.Since(began) > 20*time.Second {
			t.Errorf("relay %q: status %d after %s: %s%s", args, status, time.Since(began), out, errs)
		}
	}
}

// What is not known, or may be several, is said with the command that helps.
func TestNamesThatAreNotThere(t *testing.T) {
	newFakeRelay(t)
	for want, args := range map[string][]string{
		"relay apps -q TEXT finds those": {"apps", "/nowhere"}, "relay envoys finds": {"envoys", "e-9"}, "relay certs finds": {"certs", "vault/none"},
		"nothing is known of nowhere.test": {"domains", "nowhere.test"},
	} {
		if status, out, errs := command(t, args...); status != statusWrong || !strings.Contains(errs, want) {
			t.Errorf("relay %q: status %d: %s%s", args, status, out, errs)
		}
	}
	for want, args := range map[string][]string{
		"--limit has to be 0 or more": {"apps", "--limit=-1"}, "must be one of": {"apps", "--sort", "size"}, "expected": {"app"},
	} {
		if status, out, errs := command(t, args...); status != statusUsage || !strings.Contains(out+errs, want) {
			t.Errorf("relay %q: status %d: %s%s", args, status, out, errs)
		}
	}
}

// A diff that is not kept is no diff that is empty.
func TestDiffThatIsNotKept(t *testing.T) {
	f := newFakeRelay(t)
	for known, want := range map[bool]string{false: "is not kept", true: "No resource of Envoy is different"} {
		f.answers["diff"] = api.Diff{Change: fakeChanges()[0], Known: known}
		if status, out, _ := command(t, "diff", "/shop/web"); status != 0 || !strings.Contains(out, want) {
			t.Errorf("known %v: status %d: %s", known, status, out)
		}
	}
}

// What is shown to be typed next finds something.
func TestNextCommand(t *testing.T) {
	for want, g := range map[string]api.Group{
		"relay certs dir/a.pem":     {About: "certificate", Subject: "dir/a.pem", Severity: problem.Failing},
		"":                          {About: "certificate", Subject: "dir/b.pem", Severity: problem.Ignored},
		"relay app /a":              {About: "app", Subject: "/a", Severity: problem.Ignored},
		"relay envoys external/e-1": {About: "envoy", Subject: "fleet external, Envoy e-1"},
		"relay domain shop.test":    {About: "domain", Subject: "shop.test"},
	} {
		if got := nextFor(g); got != want {
			t.Errorf("%s %s: %q, want %q", g.About, g.Subject, got, want)
		}
	}
}
