package hostname

import "testing"

// Bare takes a URL apart, and leaves all that is none for Domain to refuse.
func TestBare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"https://shop.test/path": {"shop.test", "/path"}, "http://Shop.test": {"Shop.test"}, "https://shop.test:8443/a?b#c": {"shop.test", "/a?b#c"}, "shop.test:443": {"shop.test"},
		"shop.test/": {"shop.test"}, "shop.test/api": {"shop.test", "/api"}, " *.shop.test:80 ": {"*.shop.test"}, "wss://shop.test?x": {"shop.test", "?x"}, "http://10.0.0.1:80": {"10.0.0.1"},
	} {
		if host, path, around := Bare(text); host != want[0] || path != want[1] || !around {
			t.Errorf("%q: %q, %q and %v, want %q", text, host, path, around, want)
		}
	}
	for _, text := range []string{
		"shop.test", "", " shop.test ", "*.shop.test", "https://", "://shop.test", "/shop/web", "user@shop.test", "https://user:pw@shop.test/", "[::1]:80", "::1",
		"shop.test:http", "shop.test:", "shop.test:99999", "a b://shop.test", "shop_1",
	} {
		if host, path, around := Bare(text); host != text || path != "" || around {
			t.Errorf("%q: %q, %q and %v, want it as it is", text, host, path, around)
		}
	}
}

// Routed takes off what is around a domain, but no path: an app that asks for one path must
// not get all of them.
func TestRouted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"shop.test": "shop.test", "HTTPS://Shop.test:8443/": "shop.test", "*.shop.test:80": "*.shop.test",
		"shop.test/admin": "", "https://shop.test/admin": "", "shop.test//": "", "shop.test?a": "", "https://shop.test#a": "", "user@shop.test": "", "a..b:80": "",
	} {
		domain, remark, err := Routed(text)
		if domain != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, domain, err, want)
		}
		if (remark != "") != (want != "" && text != want) {
			t.Errorf("%q: remark %q", text, remark)
		}
	}
}
