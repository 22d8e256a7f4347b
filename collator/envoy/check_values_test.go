package envoy_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// oddApps ask for what no source lets through, and Envoy's API definition has no
// rule for. Each has a part of the domain shared.test, or of the https listener.
func oddApps() []*sources.App {
	web := func(id string, h sources.HTTP) *sources.App {
		h.Paths, h.Order = []sources.Path{{Prefix: id}}, 1
		return withHTTP(webApp(id, "shared.test"), h)
	}
	timeout := func(d time.Duration) *time.Duration { return &d }
	add := func(name, value string) sources.HTTP {
		return sources.HTTP{RequestHeaders: sources.HeaderEdits{Add: []sources.Header{{Name: name, Value: value}}}}
	}
	remove := func(name string) sources.HTTP {
		return sources.HTTP{ResponseHeaders: sources.HeaderEdits{Remove: []string{name}}}
	}
	upstream := func(id string, u sources.Upstream) *sources.App {
		return changed(webApp(id, "shared.test"), func(p *sources.Port) {
			p.Upstream, p.HTTP = &u, &sources.HTTP{Paths: []sources.Path{{Prefix: id}}, Order: 1}
		})
	}
	networks := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/8"), netip.MustParsePrefix("::/0"),
	}
	passed := func(id string, h sources.HTTP) *sources.App {
		return withHTTP(serviceApp(id, sources.TCP{Passthrough: true}, strings.Trim(id, "/")+".test", "*."+strings.Trim(id, "/")+".test"), h)
	}
	retries, weight := uint32(math.MaxUint32), uint32(math.MaxUint32)
	return []*sources.App{
		web("/negative", sources.HTTP{Timeout: timeout(-1)}),
		web("/negative-idle", sources.HTTP{IdleTimeout: timeout(-time.Second)}),
		web("/negative-stream", sources.HTTP{MaxStreamDuration: -1}),
		web("/endless", sources.HTTP{IdleTimeout: timeout(math.MaxInt64)}),
		web("/pseudo", add(":path", "x")), web("/host", add("Host", "x")), web("/no-host", remove("host")), web("/no-status", remove(":status")),
		web("/name", add(strings.Repeat("n", 20_000), "x")), web("/value", add("x", strings.Repeat("v", 20_000))), web("/line", add("x", "a\r\nb: c")),
		web("/no-name", add("", "x")), web("/no-utf8", add("x", "\xff")),
		web("/user", sources.HTTP{BasicAuth: &sources.BasicAuth{User: "a:b", Hash: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}}),
		web("/users", sources.HTTP{BasicAuth: &sources.BasicAuth{User: "a\nb", Hash: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}}),
		web("/crypt", sources.HTTP{BasicAuth: &sources.BasicAuth{User: "a", Hash: "$6$x"}}),
		web("/short", sources.HTTP{BasicAuth: &sources.BasicAuth{User: "a", Hash: "{SHA}W6ph5Mm5Pz8="}}),
		web("/networks", sources.HTTP{AllowedNetworks: networks}), web("/no-network", sources.HTTP{AllowedNetworks: make([]netip.Prefix, 1)}),
		web("/redirect", sources.HTTP{RootRedirect: "/a\n"}), web("/strip", sources.HTTP{StripPrefix: "/" + strings.Repeat("a(", 1000)}),
		web("/location", sources.HTTP{LocationPrefix: `/"]]` + "\xff"}),
		web("/cookie", sources.HTTP{Hash: &sources.Hash{By: sources.HashCookie, Name: ""}}), web("/hash", sources.HTTP{Hash: &sources.Hash{By: 99}}),
		web("/retries", sources.HTTP{NumRetries: &retries, RetryOn: []string{"whatever", ""}}),
		web("/weight", sources.HTTP{ClusterWeight: &weight}), web("/weight", sources.HTTP{ClusterWeight: &weight}),
		web("/path", sources.HTTP{}), withHTTP(webApp("/paths", "shared.test"), sources.HTTP{Order: 1, Paths: []sources.Path{{Prefix: "no-slash"}, {Prefix: "/\xff"}}}),
		upstream("/hasty", sources.Upstream{ConnectTimeout: -1}), upstream("/sni", sources.Upstream{TLS: &sources.UpstreamTLS{SNI: strings.Repeat("s", 300)}}),
		upstream("/proxy", sources.Upstream{ProxyProtocol: 9, Balance: 99}),
		passed("/p-networks", sources.HTTP{AllowedNetworks: networks}), passed("/p-idle", sources.HTTP{IdleTimeout: timeout(-1)}),
		passed("/p-retries", sources.HTTP{NumRetries: &retries}), passed("/p-no-network", sources.HTTP{AllowedNetworks: make([]netip.Prefix, 2)}),
	}
}

// TestEnvoyIsSentNothingThatItRefuses gives a real Envoy what is made of odd apps,
// beside one that shares a domain and the https listener with them.
func TestEnvoyIsSentNothingThatItRefuses(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.certificates("shared.test")
	good := e.app("/z", "shared.test")
	e.c.SyncApps(append(oddApps(), good))
	e.eventually(t, request{host: "shared.test", path: "/"}, fromApp("/z"))
	e.eventually(t, request{host: "shared.test", path: "/", tls: true, sni: "shared.test"}, fromApp("/z"))
	e.eventually(t, request{host: "shared.test", path: "/networks"}, status(403))
	// All that is published has been answered.
	e.until(t, "every response is acknowledged", func() bool {
		for _, stream := range e.server.Streams() {
			for _, s := range stream.Types {
				if s.InFlight || s.Behind > 0 {
					return false
				}
			}
		}
		return true
	})
	for _, stream := range e.server.Streams() {
		for _, s := range stream.Types {
			if s.Rejected != nil {
				t.Errorf("Envoy rejected %v: %s", s.Rejected.Names, s.Rejected.Message)
			}
		}
	}
	// Each that is not served is told why.
	for _, app := range []string{"/negative", "/negative-idle", "/endless", "/pseudo", "/host", "/no-host", "/no-status", "/user", "/users", "/crypt",
		"/short", "/no-network", "/hasty", "/sni", "/p-idle", "/p-retries", "/p-no-network"} {
		if view, _ := e.c.App(app); len(view.Problems) == 0 {
			t.Errorf("%s has no problem", app)
		}
	}
	for _, p := range e.c.Problems() {
		if strings.Contains(p.Reason, "$6$") || strings.Contains(p.Reason, "W6ph") {
			t.Errorf("a problem shows a password's hash: %s", p.Reason)
		}
	}
}
