package outgoing

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestProxyNote(t *testing.T) {
	t.Parallel()
	through := http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128", User: url.UserPassword("me", "s.secret")})
	for _, tt := range []struct {
		proxy func(*http.Request) (*url.URL, error)
		url   string
		want  string
	}{
		{through, "http://m.test:8080/v2", "proxy proxy.test:3128, which HTTP_PROXY in the environment names; to go without it, add m.test to NO_PROXY"},
		{through, "https://m.test", "which HTTPS_PROXY in"},
		{func(*http.Request) (*url.URL, error) { return nil, nil }, "http://m.test", ""},
		{nil, "http://m.test", ""},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		got := ProxyNote(tt.proxy, u)
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) || strings.Contains(got, "secret") {
			t.Errorf("%s: %q, want %q", tt.url, got, tt.want)
		}
	}
}
