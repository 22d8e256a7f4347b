package hostname

import "testing"

// Bare takes a URL apart, and leaves all that is none for Domain to refuse.
func TestBare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://shop.test/path": "shop.test", "http://Shop.test": "Shop.test", "https://shop.test:8443/a?b#c": "shop.test", "shop.test:443": "shop.test",
		"shop.test/": "shop.test", "shop.test/api": "shop.test", " *.shop.test:80 ": "*.shop.test", "wss://shop.test?x": "shop.test", "http://10.0.0.1:80": "10.0.0.1",
	} {
		if host, instead := Bare(text); host != want || instead == "" {
			t.Errorf("%q: %q and %q, want %q", text, host, instead, want)
		}
	}
	for _, text := range []string{
		"shop.test", "", " shop.test ", "*.shop.test", "https://", "://shop.test", "/shop/web", "user@shop.test", "https://user:pw@shop.test/", "[::1]:80", "::1",
		"shop.test:http", "shop.test:", "shop.test:99999", "a b://shop.test", "shop_1",
	} {
		if host, instead := Bare(text); host != text || instead != "" {
			t.Errorf("%q: %q and %q, want it as it is", text, host, instead)
		}
	}
}
