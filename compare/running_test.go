package compare_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relay/compare"
)

// runningConfig is what marathon-lb would have for the app /a with a.test, and more.
const runningConfig = `
listen stats
  bind 0.0.0.0:9090
userlist user_a_10000
  user joe password $5$neverShown
frontend marathon_http_in
  bind *:80
  mode http
  acl host_a_test_a hdr(host) -i a.test
  use_backend a_10000 if host_a_test_a
%s
frontend marathon_http_appid_in
  bind *:9091
  acl app__a hdr(x-marathon-app-id) -i /a
  use_backend a_10000 if app__a
frontend a_10000
  bind *:10000
  mode http
%s
backend a_10000
  server x 127.0.0.1:31000
`

func TestRunningMarathonLB(t *testing.T) {
	t.Parallel()
	sides := oneApp(t)
	reason := func(f compare.Finding) string { return f.Old + " | " + f.Reason }
	const newerApp = "  acl host_b_test_b hdr(host) -i b.test\n  use_backend b_1 if host_b_test_b\n"
	tests := []struct {
		name, http, more, vhosts, apps string
		want                           []string
	}{
		{name: "the same"},
		{name: "a domain of no app", http: newerApp, want: []string{"different not-in-model b.test/ | the running one: forwards b_1 | no app has the domain"}},
		{name: "a password", http: "  acl auth_x http_auth(user_x)\n  http-request auth realm \"a if b\" if host_a_test_a !auth_x\n",
			want: []string{"different not-in-model a.test/ | the running one: asks for a password | by the apps there are, it should be: forwards a_10000"}},
		{name: "a redirect", http: "  redirect scheme https code 301 if !{ ssl_fc } host_a_test_a\n",
			want: []string{"different not-in-model a.test/ | the running one: redirects to https | "}},
		{name: "another service port", more: "frontend b_10001\n  bind 127.0.0.1:10001\n", want: []string{"different not-in-model tcp/10001 | the running one: b_10001 | it should be: none"}},
		{name: "a map with a domain of no app", http: "  use_backend %[req.hdr(host),lower,regsub(:.*$,,),map(/x/domain2backend.map)]\n", vhosts: "b.test b_1\na.test a_10000\n",
			want: []string{"different not-in-model b.test/ | the running one: forwards b_1 | no app has the domain"}},
		{name: "a map of apps", apps: "/gone gone_1\n", want: []string{"different not-in-model port 9091 for /gone | the running one: gone_1 | it should be: none"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					t.Error("the header for apps is sent to port 9090")
				}
				switch r.URL.Path {
				case "/_haproxy_getconfig":
					fmt.Fprintf(w, runningConfig, test.http, test.more)
				case "/_haproxy_getvhostmap":
					fmt.Fprint(w, test.vhosts)
				case "/_haproxy_getappmap":
					fmt.Fprint(w, test.apps)
				default:
					t.Errorf("%s is asked for", r.URL.Path)
				}
			}))
			defer admin.Close()
			old := httptest.NewServer(page("x"))
			defer old.Close()
			r := ask(t, sides, quick(), compare.Addresses{Old: old.URL, OldAdmin: admin.URL, Header: []string{"Authorization: Basic eA=="}})
			if r.Tallies[0].Part != compare.Running || r.Tallies[0].NotDone != "" || r.Tallies[0].Compared < 3 {
				t.Fatalf("%+v", r.Tallies[0])
			}
			got := brief(r, reason)
			for i := range got {
				if i >= len(test.want) {
					t.Errorf("got as well: %s", got[i])
					continue
				}
				for part := range strings.SplitSeq(test.want[i], " | ") {
					if !strings.Contains(got[i], part) {
						t.Errorf("got %s, want %s", got[i], test.want[i])
					}
				}
			}
			if len(got) < len(test.want) {
				t.Errorf("got %d findings, want %d", len(got), len(test.want))
			}
		})
	}
}

// TestRunningThatIsNoMarathonLB has an admin endpoint that is away or something else.
func TestRunningThatIsNoMarathonLB(t *testing.T) {
	t.Parallel()
	sides := oneApp(t)
	for name, handler := range map[string]http.HandlerFunc{
		"no such page": http.NotFound, "a login": func(w http.ResponseWriter, _ *http.Request) {
			http.Redirect(w, httptest.NewRequest("GET", "/", nil), "/login", http.StatusFound)
		},
		"a page": page("<html><body>secret</body></html>"), "garbage": hijack("\x00\x01secret"), "closed": hijack(""),
		"one line without end": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("secret", 1<<20)) },
		"hangs":                func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a configuration without end": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "frontend marathon_http_in")
			for {
				if _, err := fmt.Fprintln(w, "#", strings.Repeat("x", 256<<10)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin := httptest.NewServer(handler)
			defer admin.Close()
			old := httptest.NewServer(page("x"))
			defer old.Close()
			asking := quick()
			switch name {
			case "hangs":
				asking.Timeout = noAnswer
			case "a configuration without end": // the limit is its size: a busy machine needs seconds to get there
				asking.Timeout = time.Minute
			}
			r := ask(t, sides, asking, compare.Addresses{Old: old.URL, OldAdmin: admin.URL})
			if tally := r.Tallies[0]; !tally.Failed || tally.NotDone == "" || strings.Contains(tally.NotDone, "secret") || len(r.Findings) > 0 {
				t.Errorf("%+v", tally)
			}
			if name == "a configuration without end" && !strings.Contains(r.Tallies[0].NotDone, "has more than") {
				t.Error(r.Tallies[0].NotDone)
			}
			if tally := r.Tallies[1]; tally.Compared != 1 {
				t.Errorf("the answers are not compared: %+v", tally)
			}
		})
	}
}
