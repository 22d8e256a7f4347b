package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
		{"authorities", "GET", "/api/v1/authorities", full, 200, `"usedInstead": "vault"`, "", ""},
		{"some authorities", "GET", "/api/v1/authorities?q=CN%3Dtracker&limit=1", full, 200, `"total": 2`, "", ""},
		{"no authorities", "GET", "/api/v1/authorities", empty, 200, `"authorities": []`, "", ""},
		{"page of authorities", "GET", "/authorities", full, 200, "that of vault is used", "", ""},
		{"page of no authorities", "GET", "/authorities", empty, 200, "No authority", "", ""},
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
		{"dump of no type", "GET", "/api/v1/config-dump?fleet=external&type=x", full, 400, "it can be clusters", "", ""},
		{"unknown list", "GET", "/api/v1/x", full, 404, `"error": "nothing at /api/v1/x`, "Content-Type", "application/json"},
		{"list by POST", "POST", "/api/v1/apps", full, 405, "", "Allow", "GET, HEAD"},
		{"page", "GET", "/", full, 200, "<li>/shop/busy: port 0: no task is in rotation: busy.1 fails a health check", "Content-Type", "text/html; charset=utf-8"},
		{"page by an old bookmark", "GET", "/?refresh=off", full, 200, "As of <time", "", ""},
		{"empty page", "GET", "/", empty, 200, "<title>Not everything is served: apps have not been read yet – Relay</title>", "", ""},
		{"page when all is well", "GET", "/", newConfig(fakeViews{served: collator.Served{Known: true, Domains: 1}}), 200, "<title>All is well – Relay</title>", "", ""},
		{"page of what is not ready", "GET", "/", failing, 200, "marathon: not read yet", "", ""},
		{"page of what is not covered", "GET", "/", full, 200, "Domains without a certificate</a></h2><span class=\"dim small\">2</span>", "", ""},
		{"page with all covered", "GET", "/", empty, 200, `<p class="dim">None.</p>`, "", ""},
		{"page of what is not known", "GET", "/", failing, 200, `<p class="dim">Not known yet.</p>`, "", ""},
		{"page of certificates whose use is not known", "GET", "/", failing, 200, `<li class="dim">not known yet</li>`, "", ""},
		{"page of very many", "GET", "/", newConfig(manyViews()), 200, "2\u202f500 in no domain's use", "", ""},
		{"page of very many, and the others", "GET", "/", newConfig(manyViews()), 200, "and <a href=\"/certificates\">4\u202f992 more</a>", "", ""},
		{"page of all that are very many", "GET", "/certificates", newConfig(manyViews()), 200, "1–50 of 5\u202f000", "", ""},
		{"page of an app", "GET", "/apps/shop/web", full, 200, "10.0.0.7:31044", "", ""},
		{"page of an unknown app", "GET", "/apps/shop/x", full, 404, "No app <bdi>/shop/x</bdi>", "Content-Type", "text/html; charset=utf-8"},
		{"page of a certificate in a file", "GET", "/certificates/dir/etc/relay/certs/averylonglabelaverylonglabelaverylonglabelaverylonglabel.pem", full, 200, "clients without a known name", "", ""},
		{"page of an Envoy", "GET", "/envoys/external/edge-3", full, 200, "2 behind", "", ""},
		{"page of a wrong question", "GET", "/apps?cursor=x", full, 400, "the cursor is none that was given here", "", ""},
		{"script", "GET", "/static/relay.js", full, 200, "EventSource", "Content-Type", "text/javascript; charset=utf-8"},
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

// getPage returns a page without the spaces between its lines.
func getPage(t *testing.T, views Views, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	New(newConfig(views), nil).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// order fails the test unless the texts are in a page in their order.
func order(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, after, found := strings.Cut(page, text)
		if !found {
			t.Errorf("the page has no %q, or not in this order: %q", text, texts)
			return
		}
		page = after
	}
}

func TestPageShowsWhatNeedsAttentionFirst(t *testing.T) {
	t.Parallel()
	views := fakeViews{fleets: []FleetView{{Name: "external"}}}
	for i := range 55 {
		views.problems = append(views.problems, problem.Problem{Kind: problem.App, App: fmt.Sprint("/a", i), Reason: "r"})
	}
	views.problems = append(views.problems, problem.Problem{Kind: problem.Tasks, App: "/z", Reason: "no task"})
	upToDate := []xds.TypeStatus{{Type: xds.Scope}}
	for range 1100 {
		views.fleets[0].Envoys = append(views.fleets[0].Envoys, xds.StreamStatus{NodeID: "a", Types: upToDate})
	}
	views.fleets[0].Envoys = append(views.fleets[0].Envoys,
		xds.StreamStatus{NodeID: "late", Types: []xds.TypeStatus{{Type: xds.Scope, Behind: 1}}},
		xds.StreamStatus{NodeID: "refuses", Types: []xds.TypeStatus{{Type: xds.Scope, StaleCount: 1, Stale: []xds.StaleResource{{Name: "s", Message: "e"}}}}})
	soon := time.Now().Add(time.Hour)
	for range 52 {
		views.certificates = append(views.certificates, collator.CertificateView{Name: "c", NotAfter: soon.Add(time.Hour)})
	}
	views.certificates = append(views.certificates, collator.CertificateView{Name: "first", NotAfter: soon}, collator.CertificateView{Name: "unused", NotAfter: soon.Add(-time.Hour), Unused: true})

	page := getPage(t, views, "/")
	order(t, page, "<b>1\u202f102</b> Envoys", `href="/apps/z"`, `href="/apps/a0"`, `46 more</a>`, "1 rejecting", "1 behind", "1 100 up to date", ">first</bdi>", ">c</bdi>", `46 more</a>`)
	if strings.Contains(page, ">unused</bdi>") {
		t.Error("a certificate that nobody uses is shown before those that are used")
	}
	for state, id := range map[string]string{"rejecting": "refuses", "behind": "late"} {
		order(t, getPage(t, views, "/envoys?state="+state), `<a href="/envoys/external/`+id+`">`, "1–1 of 1")
	}
}

func TestPageSaysWhoWasRefused(t *testing.T) {
	t.Parallel()
	views := fakeViews{fleets: []FleetView{{Name: "external"}}, refused: []string{`node <b>edge</b> from 10.0.0.7: no fleet "extern", token=hush`}}
	const want = `refused: node &lt;b&gt;edge&lt;/b&gt; from 10.0.0.7: no fleet &#34;extern&#34;, token=REDACTED`
	if page := getPage(t, views, "/"); !strings.Contains(page, want) || strings.Contains(page, "hush") {
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
	page := getPage(t, views, "/")
	order(t, page, "<b class=\"bad\">2\u202f002</b> problems", "envoy</span> <bdi>/a</bdi>", `<a href="/apps/a">`, "2\u202f000 problems", "1\u202f997 more", `<a href="/apps/b">`)
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
