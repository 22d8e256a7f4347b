package envoy_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/credentials"
	"relay/sources"
	"relay/xds/envoytest"
)

// Nobody who is not logged in gets to the app, whatever the request.
func TestNobodyGetsAroundALogIn(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	e := logInEnvoy(t, p)
	b := e.browser(t)
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, tt := range []struct {
		method, url string
		header      http.Header
		want        int
	}{
		{"GET", "http://app.test/", nil, 301},
		{"GET", "http://app.test/", header("X-Forwarded-Proto", "https"), 301},
		{"GET", "https://app.test/", header("X-Forwarded-Proto", "http"), 302},
		{"HEAD", "https://app.test/", nil, 302},
		{"POST", "https://app.test/", nil, 401},
		{"OPTIONS", "https://app.test/", nil, 401},
		{"GET", "https://app.test/", header("Sec-Fetch-Mode", "cors"), 401},
		{"GET", "https://app.test/", header("Sec-Fetch-Mode", "navigate"), 302},
		{"GET", "https://app.test/", header("X-Requested-With", "XMLHttpRequest"), 401},
		{"GET", "https://app.test/", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}, 401},
		{"GET", "https://app.test/", header("Authorization", "Bearer x"), 302},
		{"GET", "https://app.test/", header("X-Envoy-Oauth-Status", "ok"), 302},
		{"GET", "https://app.test/oauth2/callback", nil, 401},
		{"GET", "https://app.test/oauth2/callback?code=x&state=x", nil, 401},
		{"GET", "https://app.test/oauth2/callback?error=access_denied", nil, 401},
		{"GET", "https://app.test/oauth2/callback/more", nil, 302},
		{"GET", "https://both.test//a/x", nil, 302},
		{"GET", "https://both.test/%61/x", nil, 302},
		{"GET", "https://both.test/;p/a/x", nil, 302},
		{"GET", "https://both.test/z/../a", nil, 400},
		{"GET", "https://both.test/a/done", nil, 401},
		{"GET", "https://both.test/b/done?code=x&state=x", nil, 401},
	} {
		if resp := b.ask(t, tt.method, tt.url, tt.header); resp.StatusCode != tt.want {
			t.Errorf("%s %s %v: %d, want %d", tt.method, tt.url, tt.header, resp.StatusCode, tt.want)
		}
	}
	// The status of gRPC is in a header of its own: 16 is "unauthenticated".
	if resp := b.ask(t, "POST", "https://app.test/svc/Do", header("Content-Type", "application/grpc")); resp.Header.Get("Grpc-Status") != "16" {
		t.Errorf("gRPC: %v", resp.Header)
	}
	for _, host := range []string{"APP.test", "app.test.", "app.test:443", "X.Wild.test", "x.wild.test.", "a.x.wild.test"} {
		for _, http2 := range []bool{false, true} {
			a, err := e.send(t.Context(), request{host: host, path: "/", tls: true, sni: "app.test", http2: http2})
			if err != nil || a.status != 302 && a.status != 401 {
				t.Errorf("%s: %+v, %v", host, a, err)
			}
		}
	}
	// What is in the place of a session is not taken for one.
	names := b.ask(t, "GET", "https://other.test/", nil).Cookies()
	prefix := names[0].Name[:strings.LastIndexByte(names[0].Name, '-')+1]
	var forged []*http.Cookie
	for _, c := range []struct{ name, value string }{{"access", "forged"}, {"session", "Zm9yZ2Vk"}, {"expires", "99999999999"}, {"id", "forged"}, {"refresh", "forged"}} {
		forged = append(forged, &http.Cookie{Name: prefix + c.name, Value: c.value})
	}
	if resp := b.ask(t, "GET", "https://other.test/", nil, forged...); resp.StatusCode != 302 {
		t.Errorf("forged cookies: %d", resp.StatusCode)
	}
}

// stateWith returns the state of a log-in that leads to another URL afterwards.
func stateWith(t *testing.T, location, to string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(u.Query().Get("state"), "="))
	if err != nil {
		t.Fatalf("%s: %v", location, err)
	}
	led := regexp.MustCompile(`"url":"[^"]*"`)
	if !led.Match(text) {
		t.Fatalf("no URL in %s", text)
	}
	return base64.RawURLEncoding.EncodeToString(led.ReplaceAll(text, []byte(`"url":"`+to+`"`)))
}

// Nobody is sent to another host after logging in, nor logged in as somebody else.
func TestRedirectsAfterALogIn(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	e := logInEnvoy(t, p)
	victim, attacker := e.browser(t), e.browser(t)
	begin := func(b *browser, at string) (location string, cookies []*http.Cookie) {
		resp := b.ask(t, "GET", at, nil)
		return resp.Header.Get("Location"), resp.Cookies()
	}
	location, cookies := begin(victim, "https://app.test/")
	code := func(location string) string {
		resp := victim.ask(t, "GET", location, nil)
		u, err := url.Parse(resp.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("code")
	}
	back := func(state string, cookies []*http.Cookie, location string) *http.Response {
		q := url.Values{"code": {code(location)}, "state": {state}}
		return victim.ask(t, "GET", "https://app.test/oauth2/callback?"+q.Encode(), nil, cookies...)
	}
	for _, to := range []string{
		"https://evil.test/", "//evil.test/", "https://app.test@evil.test/", "https://app.test.evil.test/", "javascript:alert(1)", "https://evil.test#app.test", "https://evilapp.test/",
		"https://app.test:pw@evil.test/",
	} {
		resp := back(stateWith(t, location, to), cookies, location)
		if resp.StatusCode == 302 || resp.Header.Get("Location") != "" {
			t.Errorf("sent to %s: %d %s", to, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	// Somebody else's log-in is not taken: without its cookies, or with those of another one.
	theirs, _ := begin(attacker, "https://app.test/")
	if resp := back(stateWith(t, theirs, "https://app.test/"), nil, theirs); resp.StatusCode != 401 {
		t.Errorf("without cookies: %d", resp.StatusCode)
	}
	if resp := back(stateWith(t, theirs, "https://app.test/"), cookies, theirs); resp.StatusCode != 401 {
		t.Errorf("with other cookies: %d", resp.StatusCode)
	}
	if resp := back(stateWith(t, location, "https://app.test/fine"), cookies, location); resp.StatusCode != 302 || resp.Header.Get("Location") != "https://app.test/fine" {
		t.Errorf("one's own: %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	// Nor by a host that the app does not have.
	a, err := e.send(t.Context(), request{host: "evil.test", path: "/", tls: true, sni: "app.test"})
	if err != nil || a.status != 404 {
		t.Errorf("another host: %+v, %v", a, err)
	}
}

// The secrets are shown by neither Envoy nor Relay.
func TestSecretsOfLogInsAreNotShown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	e := logInEnvoy(t, p)
	key, err := routing.CookieKey(p.oidc(), routing.ClusterName("/shop/web", 0), []byte(clientSecret))
	if err != nil {
		t.Fatal(err)
	}
	var dump bytes.Buffer
	if err := envoy.WriteConfigDump(&dump, e.store, envoy.DumpFilter{}); err != nil {
		t.Fatal(err)
	}
	envoys, err := e.envoy.Get(t.Context(), "/config_dump?include_eds")
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"Relay": dump.String(), "Envoy": string(envoys)} {
		if !strings.Contains(text, routing.OIDCClientSecret("/shop/web_0")) {
			t.Errorf("%s has no secret to hide", what)
		}
		for _, shown := range []string{clientSecret, base64.StdEncoding.EncodeToString([]byte(clientSecret)), string(key), base64.StdEncoding.EncodeToString(key)} {
			if strings.Contains(text, shown) {
				t.Errorf("%s shows a secret", what)
			}
		}
	}
}

// Where nobody can log in, nobody is let in.
func TestLogInThatCannotBe(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	for _, tt := range []struct {
		name        string
		credentials []*credentials.Credential
		fleet       func(*routing.Fleet)
		change      func(*sources.OIDC)
		version     string
	}{
		{name: "no credential"},
		{name: "of another tenant", credentials: credential("bank/oidc", clientSecret)},
		{name: "in the root", credentials: credential("oidc", clientSecret)},
		{name: "short", credentials: credential("shop/oidc", "short")},
		{name: "not usable", credentials: append(credential("shop/oidc", clientSecret), &credentials.Credential{Source: "dir", Path: "shop/web/oidc"})},
		{name: "no https", credentials: credential("shop/oidc", clientSecret), fleet: func(f *routing.Fleet) { f.HTTPS, f.HTTPSPublicPort = f.Health, 0 }},
		{name: "plain http", credentials: credential("shop/oidc", clientSecret), fleet: func(f *routing.Fleet) { f.ExternalHosts = nil }},
		{name: "a metadata service", credentials: credential("shop/oidc", clientSecret), change: func(o *sources.OIDC) { o.TokenEndpoint = "http://169.254.169.254/latest" }},
		{name: "Envoy 1.39", credentials: credential("shop/oidc", clientSecret), version: "1.39"},
		{name: "Envoy 1.36", credentials: credential("shop/oidc", clientSecret), version: "1.36"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEnvoyWith(t, envoytest.Options{Version: tt.version}, func(f *routing.Fleet, _ *certstest.CA) {
				f.ExternalHosts = []string{p.host()}
				if tt.fleet != nil {
					tt.fleet(f)
				}
			})
			e.certificates("app.test")
			o := p.oidc()
			if tt.change != nil {
				tt.change(o)
			}
			e.c.SyncCredentials("dir", tt.credentials, nil)
			e.c.SyncApps([]*sources.App{logsIn(e.app("/shop/web", "app.test"), o), e.app("/open", "open.test")})
			e.eventually(t, request{host: "open.test", path: "/"}, fromApp("/open"))
			r := request{host: "app.test", path: "/", tls: e.fleet.HTTPS.IsValid(), sni: "app.test"}
			e.eventually(t, r, status(403))
			if a, err := e.send(t.Context(), request{host: "app.test", path: "/"}); err != nil || a.status != 301 && a.status != 403 {
				t.Errorf("by plain HTTP: %+v, %v", a, err)
			}
		})
	}
}

// A provider that is away lets nobody in, and keeps nobody out who is in.
func TestProviderIsAway(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	e := logInEnvoy(t, p)
	in, late := e.browser(t), e.browser(t)
	if code, _ := in.get(t, "https://app.test/"); code != 200 {
		t.Fatal(code)
	}
	begun := late.ask(t, "GET", "https://app.test/", nil)
	back := late.ask(t, "GET", begun.Header.Get("Location"), nil)
	p.Close()
	resp := late.ask(t, "GET", back.Header.Get("Location"), nil, begun.Cookies()...)
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode < 400 || strings.Contains(string(body), "app /") {
		t.Errorf("let in: %d", resp.StatusCode)
	}
	if code, _ := in.get(t, "https://app.test/more"); code != 200 {
		t.Errorf("who was in is not: %d", code)
	}
}
