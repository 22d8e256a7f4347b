package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"relay/sources/labels"
)

// printable is every character from ! to ~ but those left out.
func printable(without string) string {
	var b strings.Builder
	for c := '!'; c <= '~'; c++ {
		if !strings.ContainsRune(without, c) {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// extremes are the furthest values that labels take, and nonsense.
func extremes() []string {
	token := "!#$%&'*+.^_`|~-09az"
	path := "/" + printable("?#")
	long := "/" + strings.Repeat("(a+)+[b]*", 113)
	var networks []string
	for i := range labels.MaxNetworks {
		networks = append(networks, fmt.Sprintf("10.%d.%d.0", i/256, i%256))
	}
	// As many as a label may have, and more than Envoy takes for a route.
	headers := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "x-%d: a\n", i)
		}
		return b.String()
	}
	names := strings.ReplaceAll(headers(labels.MaxHeaders), ": a", "")
	var paths strings.Builder
	for i := range labels.MaxPaths {
		fmt.Fprintf(&paths, "/%d ", i)
	}
	return []string{
		"", " ", "\x00", "\n", "%", "%REQ(", "true", "-1", "0", "1", "10", "10000", "4294967295", "999999999999999999999",
		path, long, "-i " + path, "-i", "/%00", "/" + printable(""), "/" + strings.Repeat("x", 5000), "//", "/\\1", "/ /",
		"1ns", "8760h", "1h1m1s1ms1us1ns", "0s", "9999999h",
		"r:" + printable(":") + ":" + passwordHash, printable(":\"\\") + ":u:" + passwordHash, ":u:" + passwordHash, "r::" + passwordHash, "r:#u:" + passwordHash,
		"0.0.0.0/0 ::/0 ::1 255.255.255.255", strings.Join(networks, " "), "::ffff:10.0.0.0/104", "fe80::1%eth0",
		"source", "uri whole", "uri", "hdr(" + token + ")", "hdr(:path)", "hdr(Host)", "hdr(cookie)", "url_param a[]", "url_param &",
		"header :authority", "header " + token, "cookie " + token, "query_parameter a.b[c]", "source_ip",
		token + ": " + printable(""), "x: \"%%%START_TIME%", "X-Forwarded-Proto: https", "Authorization: x", "Set-Cookie: a=b", token, "cookie, set-cookie, authorization",
		"5xx gateway-error reset reset-before-request connect-failure retriable-4xx refused-stream cancelled deadline-exceeded internal resource-exhausted unavailable",
		headers(labels.MaxHeaders), headers(1001), names, paths.String(), strings.Repeat("x", 100_000),
		"v1", "v2", strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + ".internal", "bücher.test", "*.test", "10.0.0.1",
		"uri:spiffe://" + printable(", *") + "*", "uri:(a+)+[b]\\E{*", "dns:dev* email:" + printable(", *"), "uri:" + strings.Repeat("x", 1024) + "*",
		strings.Repeat("uri:spiffe://lab.test/"+strings.Repeat("x", 600)+"* ", labels.MaxClientNames), "old", "modern", "optional",
		strings.Repeat("/"+printable(" ?#*")+"* -> https://a.test/"+printable(" #@*\\")+"\n", 50), "*.a.test -> /" + printable("#*\\") + " 308", "/(([^/]+(\\S|\\W)){1,4}.*)+" + strings.Repeat("(?i:ks)", 50) + " -> /\\1" + printable("?#\\"),
		strings.Repeat("https://*."+strings.Repeat("a", 63)+".test:8080 ", 50), "https://*.a_b.test http://" + strings.Repeat("a.", 120) + "test", "br gzip", "1000 1h", "delay 1m 0.0001%, abort 599 100%",
	}
}

// TestExtremeLabels gives every label every extreme value, one app each: Envoy
// takes all that comes of it, and every other app is served.
func TestExtremeLabels(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.Faults = true
	w.start()
	var keys []string
	for _, l := range labels.AllSettings() {
		keys = append(keys, l.For("0"))
	}
	for i, key := range keys {
		for j, value := range extremes() {
			id := fmt.Sprintf("/x-%d-%d", i, j)
			labels := []string{key, value}
			if strings.HasPrefix(key, "RELAY_0_TLS_") {
				labels = append(labels, "RELAY_0_TLS", "true")
			}
			if strings.HasPrefix(key, "RELAY_0_CORS_") && key != "RELAY_0_CORS_ORIGINS" {
				labels = append(labels, "RELAY_0_CORS_ORIGINS", "https://a.test")
			}
			w.marathon.rawAppQuietly(id, fmt.Sprintf("x%d-%d.test,*.x%d-%d.test", i, j, i, j), "127.0.0.1", "1", labels...)
		}
	}
	w.marathon.deploy(app("/last", "last.test", 1))
	if code := w.admin.hook("hup"); code >= 300 {
		t.Fatalf("the reload answers %d", code)
	}
	// Thousands, with labels of 100 kB: a busy machine takes its time.
	eventuallyWithin(t, 5*patience, "all apps are read", func() error {
		if n := len(w.admin.list("apps").Apps); n < len(keys)*len(extremes()) {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	w.clients.expect("http://last.test/", http.StatusOK, "/last")
	w.envoy.accepted()
	if n := w.admin.sum("relay_xds_rejections_total"); n != 0 {
		t.Errorf("Envoy rejected %v responses", n)
	}
	for _, p := range w.admin.problems() {
		if strings.Contains(p.Reason, "not valid for Envoy") || strings.Contains(p.Reason, "bug") {
			t.Errorf("%+v", p)
		}
	}
}
