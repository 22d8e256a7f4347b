package envoy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/credentials"
	"relay/sources"
	"relay/xds/envoytest"
)

const clientSecret = "s3cret-of-the-client-web"

// provider lets everybody log in at once.
type provider struct {
	*httptest.Server
	mu sync.Mutex
	// challenges are those of codes that were given, and secret is what the client must show.
	challenges map[string]string
	secret     string
	asked      []url.Values
	expires    int
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{challenges: make(map[string]string), secret: clientSecret, expires: 3600}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /logout", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "signed out") })
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	p.asked = append(p.asked, q)
	code := fmt.Sprintf("code-%d", len(p.asked))
	p.challenges[code] = q.Get("code_challenge")
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	challenge, known := p.challenges[r.FormValue("code")]
	delete(p.challenges, r.FormValue("code"))
	if id != "web" || secret != p.secret || !known || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "access-of-joe", "id_token": "id-of-joe", "refresh_token": "refresh-of-joe", "token_type": "Bearer", "expires_in": p.expires})
}

func (p *provider) setSecret(secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secret = secret
}

// host is where it is, as who runs a fleet lists it.
func (p *provider) host() string { return p.Listener.Addr().String() }

func (p *provider) oidc() *sources.OIDC {
	return &sources.OIDC{
		ClientID: "web", ClientSecret: "oidc", AuthorizationEndpoint: p.URL + "/authorize", TokenEndpoint: p.URL + "/token",
		Scopes: []string{"openid", "email"}, CallbackPath: "/oauth2/callback", SignOutPath: "/oauth2/sign-out",
	}
}

func logsIn(app *sources.App, o *sources.OIDC) *sources.App {
	return changed(app, func(p *sources.Port) { p.HTTP = &sources.HTTP{SignOn: &sources.SignOn{OIDC: o}} })
}

// browser follows redirects and keeps cookies.
type browser struct {
	*http.Client
	e   *realEnvoy
	hop []string
}

func (e *realEnvoy) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{e: e}
	outside := &http.Transport{DisableKeepAlives: true}
	b.Client = &http.Client{Jar: jar, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Host, "127.0.0.1") {
			return outside.RoundTrip(r)
		}
		return e.transport(request{tls: r.URL.Scheme == "https", sni: r.URL.Hostname()}).RoundTrip(r)
	}), CheckRedirect: func(r *http.Request, via []*http.Request) error {
		b.hop = append(b.hop, r.URL.String())
		if len(via) > 8 {
			return fmt.Errorf("sent in circles: %q", b.hop)
		}
		return nil
	}}
	return b
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// get returns the status and the body of what is shown in the end.
func (b *browser) get(t *testing.T, url string) (int, string) {
	t.Helper()
	b.hop = nil
	resp, err := b.Get(url)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func credential(path, value string) []*credentials.Credential {
	return []*credentials.Credential{{Source: "dir", Path: path, Value: []byte(value)}}
}

// logInEnvoy serves apps of two tenants for which people log in, of which one is at two domains.
func logInEnvoy(t *testing.T, p *provider) *realEnvoy {
	t.Helper()
	e := startEnvoyWith(t, envoytest.Options{}, func(f *routing.Fleet, _ *certstest.CA) { f.ExternalHosts = []string{p.host()} })
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("all", "app.test", "other.test", "both.test", "*.wild.test")}, nil)
	e.c.SyncCredentials("dir", append(credential("shop/oidc", clientSecret), credential("bank/oidc", clientSecret)...), nil)
	forwards := p.oidc()
	forwards.ForwardToken, forwards.EndSessionEndpoint, forwards.SecretInBody = true, p.URL+"/logout", true
	part := func(app *sources.App, path string) *sources.App {
		o := p.oidc()
		o.CallbackPath, o.SignOutPath = path+"/done", path+"/bye"
		return changed(logsIn(app, o), func(p *sources.Port) { p.HTTP.Paths = []sources.Path{{Prefix: path}} })
	}
	e.c.SyncApps([]*sources.App{
		logsIn(e.app("/shop/web", "app.test", "*.wild.test"), p.oidc()), logsIn(e.app("/bank/web", "other.test"), forwards),
		part(e.app("/shop/a", "both.test"), "/a"), part(e.app("/shop/b", "both.test"), "/b"),
	})
	for _, host := range []string{"app.test", "other.test", "x.wild.test"} {
		e.eventually(t, request{host: host, path: "/", tls: true, sni: host}, status(302))
	}
	e.eventually(t, request{host: "both.test", path: "/a", tls: true, sni: "both.test"}, status(302))
	return e
}

func (b *browser) cookies(t *testing.T, at string) []*http.Cookie {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return b.Jar.Cookies(u)
}

// ask asks as the browser would, and follows nothing.
func (b *browser) ask(t *testing.T, method, at string, header http.Header, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	resp, err := b.Transport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	_ = resp.Body.Close()
	return resp
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	e := logInEnvoy(t, p)
	b := e.browser(t)
	code, body := b.get(t, "https://app.test/x?y=z")
	if code != 200 || !strings.HasPrefix(body, "app /shop/web") || len(b.hop) != 3 || b.hop[2] != "https://app.test/x?y=z" {
		t.Errorf("%d %s by %q", code, body, b.hop)
	}
	if strings.Contains(body, "of-joe") || strings.Contains(body, "Bearer") {
		t.Errorf("the app gets a token: %s", body)
	}
	asked := p.asked[len(p.asked)-1]
	for name, want := range map[string]string{"client_id": "web", "response_type": "code", "scope": "openid email", "redirect_uri": "https://app.test/oauth2/callback", "code_challenge_method": "S256"} {
		if got := asked.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if code, body := b.get(t, "https://app.test/again"); code != 200 || len(b.hop) != 0 {
		t.Errorf("again: %d %s by %q", code, body, b.hop)
	}
	for _, c := range b.cookies(t, "https://app.test/") {
		if !strings.HasPrefix(c.Name, "__Host-relay-") || strings.Contains(c.Value, "of-joe") {
			t.Errorf("cookie %s", c)
		}
	}
	first := b.ask(t, "GET", "https://app.test/", nil)
	for _, line := range first.Header.Values("Set-Cookie") {
		for _, want := range []string{"__Host-relay-", ";path=/;", ";secure", ";HttpOnly", ";SameSite=Lax"} {
			if !strings.Contains(line, want) {
				t.Errorf("a cookie has no %s: %s", want, line)
			}
		}
		if strings.Contains(strings.ToLower(line), "domain=") {
			t.Errorf("a cookie is for other hosts too: %s", line)
		}
	}
	other := e.browser(t)
	if code, body := other.get(t, "https://other.test/"); code != 200 || !strings.Contains(body, "Authorization: Bearer access-of-joe") {
		t.Errorf("a token is not forwarded: %d %s", code, body)
	}
	for _, c := range other.cookies(t, "https://other.test/") {
		if strings.Contains(c.Value, "of-joe") {
			t.Errorf("a token is readable: %s", c)
		}
	}
	for _, url := range []string{"https://x.wild.test/", "https://both.test/a/x", "https://both.test/b/x"} {
		if code, body := e.browser(t).get(t, url); code != 200 || !strings.HasPrefix(body, "app /shop/") {
			t.Errorf("%s: %d %s", url, code, body)
		}
	}
}

// A session is worth nothing at another app, at another host, or after its key has changed.
func TestSessionsAreApart(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	e := logInEnvoy(t, p)
	b := e.browser(t)
	for _, url := range []string{"https://app.test/", "https://both.test/a/", "https://x.wild.test/"} {
		if code, _ := b.get(t, url); code != 200 {
			t.Fatalf("%s: %d", url, code)
		}
	}
	// renamed are cookies under the names that another app looks for.
	renamed := func(from, to string) (all []*http.Cookie) {
		names := make(map[string]string)
		for _, c := range e.browser(t).ask(t, "GET", to, nil).Cookies() {
			if i := strings.LastIndexByte(c.Name, '-'); i > 0 {
				names["prefix"] = c.Name[:i]
			}
		}
		for _, c := range b.cookies(t, from) {
			all = append(all, c, &http.Cookie{Name: names["prefix"] + c.Name[strings.LastIndexByte(c.Name, '-'):], Value: c.Value})
		}
		return all
	}
	for _, tt := range []struct{ from, to string }{
		{"https://app.test/", "https://other.test/"}, {"https://app.test/", "https://both.test/a/"}, {"https://both.test/a/", "https://both.test/b/"},
		{"https://x.wild.test/", "https://y.wild.test/"}, {"https://x.wild.test/", "https://app.test/"},
	} {
		cookies := renamed(tt.from, tt.to)
		if resp := b.ask(t, "GET", tt.to, nil, cookies...); resp.StatusCode != 302 || len(cookies) < 4 {
			t.Errorf("%d cookies of %s at %s: %d", len(cookies), tt.from, tt.to, resp.StatusCode)
		}
		if resp := b.ask(t, "GET", tt.from, nil, cookies...); resp.StatusCode != 200 {
			t.Errorf("cookies of %s there: %d", tt.from, resp.StatusCode)
		}
	}
	cookies := b.cookies(t, "https://app.test/")
	p.setSecret("another-s3cret-of-the-client")
	e.c.SyncCredentials("dir", append(credential("shop/oidc", "another-s3cret-of-the-client"), credential("bank/oidc", clientSecret)...), nil)
	e.until(t, "the session ended", func() bool { return b.ask(t, "GET", "https://app.test/", nil, cookies...).StatusCode == 302 })
	if code, body := b.get(t, "https://app.test/"); code != 200 {
		t.Errorf("with the new secret: %d %s", code, body)
	}
	if code, body := b.get(t, "https://app.test/oauth2/sign-out"); code == 200 && strings.HasPrefix(body, "app") && len(b.hop) < 2 {
		t.Errorf("signed out, and in: %d %s by %q", code, body, b.hop)
	}
	resp := b.ask(t, "GET", "https://app.test/oauth2/sign-out", nil, b.cookies(t, "https://app.test/")...)
	for _, line := range resp.Header.Values("Set-Cookie") {
		if !strings.Contains(line, "1970") || !strings.Contains(strings.ToLower(line), "secure") {
			t.Errorf("browsers keep a cookie: %s", line)
		}
	}
	if resp.StatusCode != 302 || resp.Header.Get("Location") != "https://app.test/" {
		t.Errorf("signed out: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}
