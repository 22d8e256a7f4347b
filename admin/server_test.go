package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/collator"
	"relay/internal/problem"
	"relay/xds"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	failing := newConfig(fakeViews{notReady: []string{"marathon: not read yet", "vault at https://u:hunter2@v.test: not read yet"},
		certificates: []collator.CertificateView{{Name: "a.test", Serves: []string{"a.test"}}}})
	failing.ReloadApps = func(context.Context) error {
		return errors.New("marathon: Get \"http://user:hunter2@m.test/v2/apps\": refused")
	}
	failing.AnyMethod = true
	full := newConfig(busyViews())
	full.Pprof = true
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_test", Help: "."}))
	full.Gatherer = reg
	empty := newConfig(fakeViews{})

	tests := []struct {
		name, method, path string
		cfg                Config
		status             int
		body               string // is in the answer
		header, value      string
	}{
		{"usr1", "POST", "/_mlb_signal/usr1", full, 204, "", "Cache-Control", "no-store"},
		{"hup", "POST", "/_mlb_signal/hup", full, 204, "", "", ""},
		{"base URL with a slash", "POST", "//_mlb_signal/usr1", full, 204, "", "", ""},
		{"hook by GET", "GET", "/_mlb_signal/usr1", full, 405, "", "Allow", "POST"},
		{"hook by PUT", "PUT", "/_mlb_signal/hup", full, 405, "", "Allow", "POST"},
		{"any method", "GET", "/_mlb_signal/usr1", failing, 204, "", "", ""},
		{"failed reload", "POST", "/_mlb_signal/hup", failing, 500, `Get "http://REDACTED@m.test/v2/apps": refused`, "", ""},
		{"unknown signal", "POST", "/_mlb_signal/usr2", full, 404, "", "", ""},
		{"healthz", "GET", "/healthz", failing, 200, "ok\n", "", ""},
		{"readyz", "GET", "/readyz", full, 200, "ready\n", "", ""},
		{"not ready", "GET", "/readyz", failing, 503, "marathon: not read yet\nvault at https://REDACTED@v.test: not read yet\n", "", ""},
		{"metrics", "GET", "/metrics", full, 200, "relay_test 0", "", ""},
		{"apps", "GET", "/api/v1/apps", full, 200, `"id": "/shop/web"`, "Content-Type", "application/json"},
		{"apps with a slash", "GET", "/api/v1/apps/", full, 404, "", "", ""},
		{"no apps", "GET", "/api/v1/apps", empty, 200, `"apps": []`, "Cache-Control", "private, no-cache"},
		{"app", "GET", "/api/v1/apps/shop/web", full, 200, `"address": "10.0.0.7:31044"`, "", ""},
		{"app with its slash", "GET", "/api/v1/apps//shop/web", full, 200, `"version": "v1"`, "", ""},
		{"app with its slash escaped", "GET", "/api/v1/apps/%2Fshop%2Fweb", full, 200, `"version": "v1"`, "", ""},
		{"unknown app", "GET", "/api/v1/apps/shop/x", full, 404, `"error": "no app \"/shop/x\""`, "Content-Type", "application/json"},
		{"certificates", "GET", "/api/v1/certificates", full, 200, `"daysLeft": -11`, "", ""},
		{"no certificates", "GET", "/api/v1/certificates", empty, 200, `"certificates": []`, "", ""},
		{"fleets", "GET", "/api/v1/fleets", full, 200, `"revision": 42`, "", ""},
		{"problems", "GET", "/api/v1/problems", full, 200, "with token REDACTED", "", ""},
		{"first line", "GET", "/api/v1/problems", full, 200, `"summary": "2 domains have no task, 1 has no certificate, 3 apps are in no fleet"`, "", ""},
		{"groups", "GET", "/api/v1/problems", full, 200, `"count": 7`, "", ""},
		{"severity of each", "GET", "/api/v1/problems", full, 200, `"severity": "ignored",` + "\n      \"action\": \"change the app", "", ""},
		{"sources", "GET", "/api/v1/sources", full, 200, `"name": "http://REDACTED@marathon.test:8080"`, "", ""},
		{"uncovered", "GET", "/api/v1/uncovered", full, 200, `"wanted": true`, "", ""},
		{"none uncovered", "GET", "/api/v1/uncovered", empty, 200, `"uncovered": []`, "", ""},
		{"uncovered is not known", "GET", "/api/v1/uncovered", failing, 200, `"uncovered": null`, "", ""},
		{"certificates that lose", "GET", "/", full, 200, ".test: vault/shop.test is, as it is valid for longer</span>", "", ""},
		{"issuers that end", "GET", "/", full, 200, "expires with its issuer CN=", "", ""},
		{"use of certificates", "GET", "/api/v1/certificates", full, 200, `"unused": true`, "", ""},
		{"diff", "GET", "/api/v1/diff?app=/shop/web", full, 200, `"id": 2`, "", ""},
		{"diff in a fleet", "GET", "/api/v1/diff?app=/shop/web&fleet=internal", full, 200, `"id": 1`, "", ""},
		{"diff of nothing", "GET", "/api/v1/diff?app=/x", full, 404, "no change of the app", "", ""},
		{"diff without an app", "GET", "/api/v1/diff", full, 400, "the parameter app is needed", "", ""},
		{"dump", "GET", "/api/v1/config-dump?fleet=external&type=clusters&name=/a_0", full, 200, `"type": "clusters", "name": "/a_0"`, "Content-Type", "application/json"},
		{"dump of no fleet", "GET", "/api/v1/config-dump?fleet=x", full, 404, "there is no fleet x", "", ""},
		{"dump of no type", "GET", "/api/v1/config-dump?fleet=external&type=x", full, 400, "it can be , clusters", "", ""},
		{"unknown list", "GET", "/api/v1/x", full, 404, `"error": "nothing at /api/v1/x`, "Content-Type", "application/json"},
		{"list by POST", "POST", "/api/v1/apps", full, 405, "", "Allow", "GET, HEAD"},
		{"page", "GET", "/", full, 200, "<title>11 problems – Relay</title>", "Content-Type", "text/html; charset=utf-8"},
		{"page that stays", "GET", "/?refresh=off", full, 200, "refresh every 5 s", "", ""},
		{"empty page", "GET", "/", empty, 200, "<title>Ready – Relay</title>", "", ""},
		{"page of what is not ready", "GET", "/", failing, 200, "marathon: not read yet", "", ""},
		{"page of what is not covered", "GET", "/", full, 200, "Domains without a certificate</h2><span class=\"dim small\">2</span>", "", ""},
		{"page with all covered", "GET", "/", empty, 200, `<p class="dim">None.</p>`, "", ""},
		{"page of what is not known", "GET", "/", failing, 200, `<p class="dim">Not known yet.</p>`, "", ""},
		{"page of certificates whose use is not known", "GET", "/", failing, 200, `<li class="dim">not known yet</li>`, "", ""},
		{"page of very many", "GET", "/", newConfig(manyViews()), 200, "2\u202f500 in no domain's use; <a href=\"/api/v1/certificates\">4\u202f940 more than shown</a>", "", ""},
		{"unknown page", "GET", "/x", full, 404, "", "", ""},
		{"pprof", "GET", "/debug/pprof/", full, 200, "goroutine", "", ""},
		{"pprof command line", "GET", "/debug/pprof/cmdline", full, 404, "", "", ""},
		{"pprof off", "GET", "/debug/pprof/", empty, 404, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			New(tt.cfg, nil).Handler().ServeHTTP(w, httptest.NewRequest(tt.method, "http://relay.test"+tt.path, nil))
			body := w.Body.String()
			if w.Code != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("%d %s; want %d with %q", w.Code, body, tt.status, tt.body)
			}
			if got := w.Header().Get(tt.header); tt.header != "" && got != tt.value {
				t.Errorf("%s: %q, want %q", tt.header, got, tt.value)
			}
			for _, secret := range []string{"hunter2", "CAESIJ", "<b>shop_"} {
				if strings.Contains(body, secret) {
					t.Errorf("the answer has %q in it", secret)
				}
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
				t.Errorf("not JSON: %s", body)
			}
		})
	}
}

func TestCrossOriginPostIsRefused(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "http://relay.test/_mlb_signal/hup", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	New(newConfig(fakeViews{}), nil).Handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("a form on another site caused %d, want 403", w.Code)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"dial 10.0.0.1:80: refused", "dial 10.0.0.1:80: refused"},
		{"mail to a@b.test", "mail to a@b.test"},
		{"https://vault.test/v1/x@y", "https://vault.test/v1/x@y"},
		{"http://u:p@ss@m.test/x", "http://REDACTED@m.test/x"},
		{"key:\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nrest", "key:\nREDACTED\nrest"},
		{"key: -----BEGIN PRIVATE KEY-----\nMII", "key: REDACTED"},
		{"token hvs.CAESI-_x denied", "token REDACTED denied"},
		{"Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic REDACTED"},
		{"Authorization: token=eyJhbGciOiJI.eyJ1aWQiOiJ4.c2ln", "Authorization: token=REDACTED"},
		{"jwt eyJhbGciOiJI.eyJ1aWQiOiJ4.c2ln!", "jwt REDACTED!"},
	}
	for _, tt := range tests {
		if got := redact(tt.in); got != tt.want {
			t.Errorf("redact(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestPageShowsWhatNeedsAttentionFirst(t *testing.T) {
	t.Parallel()
	views := fakeViews{fleets: []FleetView{{Name: "external"}}}
	for i := range maxGroups + 5 {
		views.problems = append(views.problems, problem.Problem{Kind: problem.App, App: fmt.Sprint("/a", i), Reason: "r"})
	}
	views.problems = append(views.problems, problem.Problem{Kind: problem.Tasks, App: "/z", Reason: "no task"})
	for range maxEnvoys + 1000 {
		views.fleets[0].Envoys = append(views.fleets[0].Envoys, xds.StreamStatus{NodeID: "a", Types: []xds.TypeStatus{{Type: xds.Scope}}})
	}
	views.fleets[0].Envoys = append(views.fleets[0].Envoys,
		xds.StreamStatus{NodeID: "late", Types: []xds.TypeStatus{{Type: xds.Scope, Behind: 1}}},
		xds.StreamStatus{NodeID: "refuses", Types: []xds.TypeStatus{{Type: xds.Scope, StaleCount: 1, Stale: []xds.StaleResource{{Name: "s", Message: "e"}}}}})
	soon := time.Now().Add(time.Hour)
	for range maxCertificates + 2 {
		views.certificates = append(views.certificates, collator.CertificateView{Name: "c", NotAfter: soon.Add(time.Hour)})
	}
	views.certificates = append(views.certificates, collator.CertificateView{Name: "first", NotAfter: soon})

	d := New(newConfig(views), nil).pageData()
	f := d.Fleets[0]
	if f.Shown[0].NodeID != "refuses" || f.Shown[1].NodeID != "late" || len(f.Shown) != maxEnvoys || f.Hidden != 1002 {
		t.Errorf("shows %s, %s and %d Envoys, hides %d", f.Shown[0].NodeID, f.Shown[1].NodeID, len(f.Shown), f.Hidden)
	}
	if d.ShownCertificates[0].Name != "first" || d.HiddenCertificates != 3 || d.HiddenGroups != 6 || d.Groups[0].Subject != "/z" || d.Envoys != 1102 {
		t.Errorf("first certificate %s, hides %d certificates, %d groups of problems, of which the first is of %s; %d Envoys",
			d.ShownCertificates[0].Name, d.HiddenCertificates, d.HiddenGroups, d.Groups[0].Subject, d.Envoys)
	}
}

func TestPageSaysWhoWasRefused(t *testing.T) {
	t.Parallel()
	views := fakeViews{fleets: []FleetView{{Name: "external"}}, refused: []string{`node <b>edge</b> from 10.0.0.7: no fleet "extern", token=hush`}}
	w := httptest.NewRecorder()
	New(newConfig(views), nil).page(w, httptest.NewRequest(http.MethodGet, "/", nil))
	const want = `refused: node &lt;b&gt;edge&lt;/b&gt; from 10.0.0.7: no fleet &#34;extern&#34;, token=REDACTED`
	if page := w.Body.String(); !strings.Contains(page, want) || strings.Contains(page, "hush") {
		t.Errorf("the page has no %q", want)
	}
}

func TestOneAppHidesNoProblemsOfOthers(t *testing.T) {
	t.Parallel()
	var views fakeViews
	for i := range 2000 {
		views.problems = append(views.problems, problem.Problem{Kind: problem.App, App: "/a", Subject: fmt.Sprint(i), Reason: "r"})
	}
	views.problems = append(views.problems, problem.Problem{Kind: problem.App, App: "/b", Reason: "r"}, problem.Problem{Kind: problem.Envoy, Subject: "/a", Reason: "r"})
	d := New(newConfig(views), nil).pageData()
	shown := make(map[string]int)
	for _, g := range d.Groups {
		shown[g.About+" "+g.Subject] = g.Count
	}
	if want := map[string]int{"app /a": 2000, "app /b": 1, "envoy /a": 1}; !maps.Equal(shown, want) || len(d.Groups[1].Problems) != maxOfPageGroup || d.Problems != 2002 {
		t.Errorf("shows %v, want %v; %d of the first app's problems, %d in all", shown, want, len(d.Groups[1].Problems), d.Problems)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{
		0: "0 s", 90 * time.Second: "90 s", 5 * time.Minute: "5 min", 26 * time.Hour: "26 h", 72 * time.Hour: "3 days",
	} {
		if got := ago(in); got != want {
			t.Errorf("ago(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int]string{-11: "expired 10 days ago", -2: "expired 1 day ago", -1: "expired", 0: "0 days", 1: "1 day", 60: "60 days"} {
		if got := days(in); got != want {
			t.Errorf("days(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -100: "-100"} {
		if got := count(in); got != want {
			t.Errorf("count(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	url := serve(t, newConfig(fakeViews{}))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Post(url+"//_mlb_signal/usr1", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNoContent || len(body) > 0 {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestServeReportsLostListener(t *testing.T) {
	t.Parallel()
	l := listen(t)
	l.Close()
	err := New(newConfig(fakeViews{}), l).Serve(t.Context())
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Serve: %v; want an error with the address", err)
	}
}
