package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"relay/admin/api"
	"relay/internal/problem"
)

// everyPage is an address of each kind of page, for the data of tests.
var everyPage = []string{
	"/", "/apps", "/apps?q=web&sort=failures", "/apps/team-0/web", "/apps/none", "/domains", "/domains/web.team-0.example.com", "/domains/shop.tets",
	"/uncovered", "/envoys", "/envoys/external/edge-1.example.com", "/envoys/external/edge-3.example.com", "/certificates", "/certificates/vault/shop.example.com", "/authorities", "/problems", "/changes", "/failures", "/search", "/search?q=web",
	"/deployments", "/deployments/imp", "/deployments/none",
}

// Every page is whole, names no style or script inside it, and is of a bounded size.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]*fakeData{"well": wellData(), "trouble": troubleData(), "hostile": hostileData(), "empty": {}} {
		mux := http.NewServeMux()
		New(data, "v1.2.3", nil).Register(mux)
		paths := everyPage
		if name == "hostile" {
			paths = append(hostilePages(), everyPage...)
		}
		for _, path := range paths {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			body := w.Body.String()
			if w.Code != http.StatusOK && w.Code != http.StatusNotFound || !strings.HasSuffix(body, "</html>\n") {
				t.Errorf("%s %s: status %d, %d bytes", name, path, w.Code, len(body))
			}
			if n := strings.Count(body, "<script"); n != 1 || strings.Contains(body, "<style") || strings.Contains(body, " style=") || w.Header().Get("Content-Security-Policy") != policy {
				t.Errorf("%s %s: %d scripts, or a style", name, path, n)
			}
			if len(body) > 256<<10 {
				t.Errorf("%s %s: %d bytes", name, path, len(body))
			}
		}
	}
}

// An app's page says what its TCP services ask for.
func TestAppSaysTCP(t *testing.T) {
	t.Parallel()
	mux, w := http.NewServeMux(), httptest.NewRecorder()
	New(troubleData(), "", nil).Register(mux)
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/apps/team-0/web", nil))
	if want := "TCP: port 8883; TLS ends at Envoy (modern); clients need a certificate of devices"; !strings.Contains(w.Body.String(), want) {
		t.Errorf("the page lacks %q", want)
	}
}

// An app's page says what its labels made of Envoy, and leads to all of that.
func TestAppSaysWhatWasMade(t *testing.T) {
	t.Parallel()
	mux, w := http.NewServeMux(), httptest.NewRecorder()
	New(troubleData(), "", nil).Register(mux)
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/apps/team-0/web", nil))
	for _, want := range []string{
		"in Envoy: basic_auth of the route", "/* → basic_auth → cluster /team-0/web_0",
		`href="/api/v1/config-dump?fleet=external&amp;name=web.team-0.example.com&amp;type=scopes"`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// The first screen leads to authorities and deployment groups, if there are any.
func TestFirstLeadsOn(t *testing.T) {
	t.Parallel()
	some := troubleData()
	some.deployments = []api.Deployment{sampleDeployment(time.Now())}
	for _, test := range []struct {
		data *fakeData
		want bool
	}{{some, true}, {wellData(), false}} {
		mux, w := http.NewServeMux(), httptest.NewRecorder()
		New(test.data, "", nil).Register(mux)
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		for _, path := range []string{"/authorities", "/deployments"} {
			if got := strings.Contains(w.Body.String(), `<a href="`+path+`">`); got != test.want {
				t.Errorf("a link to %s: %t, want %t", path, got, test.want)
			}
			if json := `<a href="/api/v1` + path + `">`; !strings.Contains(w.Body.String(), json) {
				t.Errorf("the foot lacks %s", json)
			}
		}
	}
}

// One of each is told of as one.
func TestFirstCountsOne(t *testing.T) {
	t.Parallel()
	data := wellData()
	data.status.Counts = api.Counts{Apps: 1, Domains: 1, Endpoints: 1, Certificates: 1, Envoys: 1, Problems: 1, Failing: 1}
	mux, w := http.NewServeMux(), httptest.NewRecorder()
	New(data, "", nil).Register(mux)
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, noun := range []string{"app", "domain", "instance", "certificate", "Envoy"} {
		if want := "<b>1</b> " + noun + "<"; !strings.Contains(strings.ReplaceAll(w.Body.String(), " <span", "<"), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, want := range []string{`<b class="bad">1</b> problem<`, "1 costs requests now"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// A wrong question is answered with what is wrong, and costs no line in the log.
func TestWrongQuestion(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	mux := http.NewServeMux()
	New(wellData(), "", nil).Register(mux)
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/apps?sort=wrong", nil))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `the parameter sort is "wrong"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	New(wellData(), "", nil).Register(mux)
	ask := func(url, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, url, nil)
		r.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	for name, a := range assets {
		named := ask(a.location, "")
		if named.Code != 200 || named.Header().Get("Content-Type") == "" || !strings.Contains(named.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", a.location, named.Code, named.Header())
		}
		if plain := ask("/static/"+name, ""); plain.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s without its version is kept: %v", name, plain.Header())
		}
		if again := ask(a.location, a.etag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s again: %d", name, again.Code)
		}
		if old := ask("/static/"+name+"?v=0000", ""); old.Header().Get("Cache-Control") != "no-cache" {
			t.Errorf("%s of another version is kept: %v", name, old.Header())
		}
	}
	for _, url := range []string{"/static/", "/static/x.js", "/static/..%2fpage.go"} {
		if w := ask(url, ""); w.Code != 404 {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		appURL("/shop/web"):                       "/apps/shop/web",
		appURL("/a b/c?d#e%f"):                    "/apps/a%20b/c%3Fd%23e%25f",
		domainURL("*.a.test"):                     "/domains/%2A.a.test",
		envoyURL("ext", "router~1/2"):             "/envoys/ext/router~1/2",
		certificateURL("dir", "/etc/relay/a.pem"): "/certificates/dir/etc/relay/a.pem",
		certificatePath("vault/shop.test"):        "/certificates/vault/shop.test",
		address("/apps", nil, "", ""):             "/apps",
		address("/apps", nil, "sort", "x&y"):      "/apps?sort=x%26y",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain – 1\u202f234 ö …": "plain – 1\u202f234 ö …",
		"a\u202eb\u200bc":        `a\u202eb\u200bc`,
		"\u00ad\ufeff\u2067x":    `\u00ad\ufeff\u2067x`,
		"a\x1b[2J\a\x7f\r\n\tb":  "a\\u001b[2J\\u0007\\u007f\\u000d\n\tb",
		"\xff\xfe \u0085":        "\xff\xfe \\u0085",
	} {
		if got := string(visible([]byte(in))); got != want {
			t.Errorf("visible(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEvery(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]int{0: soon, time.Millisecond: soon, 50 * time.Millisecond: 5000, time.Minute: latest} {
		if got := every(soon, took); got != want {
			t.Errorf("a page that took %v is read every %d ms, want %d", took, got, want)
		}
	}
}

// Names and subjects of authorities, as certificates and files have them, are shown as letters, also
// to those who read the page in a terminal.
func TestAuthoritiesOfStrangers(t *testing.T) {
	t.Parallel()
	const attack = "x\x1b[2J\x1b]0;owned\a\u009b31m\u202e\r"
	a := api.Authority{Source: "vault", Name: attack, Subjects: []string{"CN=" + attack}, Services: []string{"/" + attack}, Remarks: []string{"no list of " + attack}}
	unused := api.Authority{Source: "dir", Name: attack, UsedInstead: attack}
	f := &fakeData{authorities: []api.Authority{a, unused}}
	f.problems = []api.Problem{problem.Problem{Kind: problem.Source, Subject: "authorities/" + attack, Item: attack, Reason: attack}.Complete()}
	url := serve(t, f, &events{})
	for _, path := range []string{"/authorities", "/authorities?q=%1b%5b2J", "/problems", "/"} {
		text := get(t, url+path)
		for _, r := range text {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || r == 0x202e) {
				t.Errorf("%s has %q", path, r)
				break
			}
		}
		if path == "/authorities" && strings.Count(text, `\u001b[2J`) < 5 {
			t.Errorf("nothing was shown: %s", text)
		}
	}
}
