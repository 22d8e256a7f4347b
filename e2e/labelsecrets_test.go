package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// everything is all that the admin endpoint tells of an app and a domain, and of all.
func (a *adminClient) everything(app, domain string) string {
	a.t.Helper()
	var all strings.Builder
	all.WriteString(a.pages())
	id, subject := strings.TrimPrefix(app, "/"), url.QueryEscape(app)
	for _, path := range []string{
		"/api/v1/status", "/api/v1/apps", "/api/v1/apps/" + id, "/api/v1/domains", "/api/v1/domains/" + domain, "/api/v1/envoys", "/api/v1/changes", "/api/v1/changes?app=" + subject,
		"/api/v1/failures", "/api/v1/diff?app=" + subject, "/api/v1/config-dump?fleet=external", "/api/v1/explain?subject=" + subject, "/api/v1/explain?subject=" + domain,
		"/api/v1/openapi.json", "/apps", "/apps/" + id, "/domains", "/domains/" + domain, "/search?q=" + id,
	} {
		_, body := a.get(path)
		all.WriteString(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/api/v1/events", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	first := make([]byte, 1<<20)
	n, _ := io.ReadAtLeast(resp.Body, first, 100)
	all.Write(first[:n])
	return all.String()
}

// What apps may have put into labels as a secret is nowhere to be seen.
func TestSecretsInLabels(t *testing.T) {
	w := newWorld(t)
	w.relay.start()
	label := func(name string) string { return hush + "label-" + name }
	secrets := []string{
		"HAPROXY_0_AUTH", "joe:" + label("auth"),
		"HAPROXY_0_AUHT", "r:joe:" + label("typo"),
		"HAPROXY_O_AUTH", "r:joe:" + label("letter"),
		"haproxy_1_auth", "r:joe:" + label("case"),
		"RELAY_0_AUTH", "r:joe:" + label("mine"),
		"DB_PASSWORD", label("other"),
		"RELAY_0_REQUEST_HEADERS_TO_ADD", "Authorization: Bearer " + label("bearer") + "\nX-Shared: " + label("shared") + "\n" + label("no-header"),
		"RELAY_0_RESPONSE_HEADERS_TO_ADD", "Set-Cookie: a=" + label("cookie") + "\nX-Api-Key: " + label("key"),
		"RELAY_0_REQUEST_HEADER_TO_ADD", "Authorization: Bearer " + label("nearly"),
		"HAPROXY_0_HTTP_BACKEND_REDIR", "/x?token=" + label("query"),
		"HAPROXY_0_BACKEND_HEAD", "  http-request set-header Authorization \"Basic " + label("head") + "\"",
		"HAPROXY_0_SSL_CERT", "https://joe:" + label("url") + "@store.test/cert.pem?token=" + label("cert"),
	}
	w.marathon.deploy(app("/safe", "safe.test", 1, secrets...))
	w.eventually("the app is read", func() error {
		if _, body := w.admin.get("/api/v1/apps/safe"); !strings.Contains(body, "safe.test") {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	w.marathon.deploy(app("/safe", "safe.test,more.test", 2, append(secrets, "HAPROXY_0_USE_HSTS", "true")...))
	w.eventually("the app is there", func() error {
		if _, body := w.admin.get("/api/v1/apps/safe"); !strings.Contains(body, "more.test") {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	seen := w.admin.everything("/safe", "more.test") + w.relay.log.String()
	for _, must := range []string{"HAPROXY_0_AUTH", `"@type"`, "event: status", "HAPROXY_0_SSL_CERT"} {
		if !strings.Contains(seen, must) {
			t.Errorf("%s is not among what is looked at", must)
		}
	}
	for i := 1; i < len(secrets); i += 2 {
		for _, word := range strings.FieldsFunc(secrets[i], func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz-", r) }) {
			if at := strings.Index(seen, word); strings.HasPrefix(word, hush) && at >= 0 {
				t.Errorf("%s of %s is told: %q", word, secrets[i-1], seen[max(0, at-200):min(len(seen), at+100)])
			}
		}
	}
}
