package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"relay/certs/certstest"
	credentialsdir "relay/credentials/dir"
)

const oidcSecret = "s3cret-of-the-shop-at-the-provider"

// oidcBrowser is a person's browser, who logs in as joe wherever a provider asks.
type oidcBrowser struct {
	t *testing.T
	*http.Client
}

func (w *world) oidcBrowser() *oidcBrowser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var dialer net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.certs.ca.ClientTLS().RootCAs},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch host, port, _ := net.SplitHostPort(address); {
			case strings.HasSuffix(host, ".test") && port == "80":
				address = w.clients.http
			case strings.HasSuffix(host, ".test"):
				address = w.clients.https
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
	return &oidcBrowser{w.t, &http.Client{Jar: jar, Transport: transport, Timeout: patience}}
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]*/interaction/[^"]*)"`)
	formPrompt = regexp.MustCompile(`name="prompt" value="([a-z]+)"`)
)

// get goes to a page, and logs in and agrees where it is asked to. asked is how often it was.
func (b *oidcBrowser) get(page string) (status, asked int, body string, err error) {
	resp, err := b.Get(page)
	for err == nil {
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		action, prompt := formAction.FindSubmatch(text), formPrompt.FindSubmatch(text)
		if action == nil || prompt == nil || asked > 5 {
			return resp.StatusCode, asked, string(text), nil
		}
		asked++
		to, bad := resp.Request.URL.Parse(string(action[1]))
		if bad != nil {
			return 0, asked, "", bad
		}
		resp, err = b.PostForm(to.String(), url.Values{"prompt": {string(prompt[1])}, "login": {"joe"}, "password": {"any"}})
	}
	return 0, asked, "", err
}

// People log in at a real provider, stay so over a restart of Relay, and sign out; the secret is in a file alone.
func TestLogInAtARealProvider(t *testing.T) {
	w := newWorld(t)
	provider := startNode(t, "oidc.mjs", "shop", oidcSecret, "https://shop.test/oauth2/callback")
	issuer := strings.TrimPrefix(provider.await("at "), "at ")
	folder := t.TempDir()
	w.relay.config.Credentials.Dir = credentialsdir.Config{Folder: folder}
	w.relay.fleet.ExternalHosts = []string{strings.TrimPrefix(issuer, "http://")}
	w.certs.put("shop.test.pem", []string{"shop.test"}, certstest.Options{})
	w.start()
	w.marathon.deploy(app("/shop/web", "shop.test", 1,
		"RELAY_0_OIDC_CLIENT_ID", "shop", "RELAY_0_OIDC_CLIENT_SECRET", "oidc",
		"RELAY_0_OIDC_AUTHORIZATION_ENDPOINT", issuer+"/auth", "RELAY_0_OIDC_TOKEN_ENDPOINT", issuer+"/token", "RELAY_0_OIDC_END_SESSION_ENDPOINT", issuer+"/session/end"))
	b := w.oidcBrowser()
	answers := func(what string, want func(status, asked int, body string) bool) {
		t.Helper()
		w.eventually(what, func() error {
			status, asked, body, err := b.get("https://shop.test/page?x=1")
			if err != nil || !want(status, asked, body) {
				return fmt.Errorf("status %d, asked %d times, %v: %.300s", status, asked, err, body)
			}
			return nil
		})
	}
	answers("nobody is let in without the secret", func(status, _ int, _ string) bool { return status == http.StatusForbidden })
	if err := os.MkdirAll(filepath.Join(folder, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "shop", "oidc"), []byte(oidcSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	everAsked := 0
	answers("joe logs in", func(status, asked int, _ string) bool {
		everAsked += asked
		return status == http.StatusOK
	})
	if everAsked < 2 {
		t.Errorf("joe was asked %d times: who he is, and whether he agrees", everAsked)
	}
	in := func(status, asked int, _ string) bool { return status == http.StatusOK && asked == 0 }
	answers("joe is in", in)
	w.relay.stop()
	answers("joe is in while Relay is away", in)
	w.relay.start()
	w.envoy.ready()
	answers("joe is in after a restart", in)
	dump, err := w.envoy.Get(t.Context(), "/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"Relay's log": w.relay.log.String(), "Envoy's configuration": string(dump)} {
		if strings.Contains(text, oidcSecret) {
			t.Errorf("the secret is in %s", what)
		}
	}
	if status, _, body, err := b.get("https://shop.test/oauth2/sign-out"); err != nil || !strings.Contains(body, "sign-out") {
		t.Errorf("signed out: %d, %v: %.300s", status, err, body)
	}
	u, err := url.Parse("https://shop.test/")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "-session") {
			t.Errorf("a session is left: %s", c.Name)
		}
	}
}
