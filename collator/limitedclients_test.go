package collator

import (
	"fmt"
	"testing"

	localratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	"google.golang.org/protobuf/proto"

	"relay/sources"
	"relay/xds"
)

// Whatever an app asks for, Envoys remember no more clients of it than a bound, and apps with few routes are
// remembered as many of each route as there may be.
func TestLimitedClientsAreBounded(t *testing.T) {
	t.Parallel()
	perClient := "RATE_LIMIT_PER_CLIENT=10/s by header X-Key"
	domains := func(n int) []string { return names(n, "d%04d.test") }
	paths := func(n int) string {
		text := "PATH="
		for i := range n {
			text += fmt.Sprintf("/p%d ", i)
		}
		return text
	}
	web := webApp("/mirror")
	for _, tt := range []struct {
		name    string
		app     *sources.App
		each    uint32 // 0 is anything
		limited bool
	}{
		{"one domain", set(t, webApp("/a", "a.test"), perClient), 2000, true},
		{"14 domains", set(t, webApp("/a", domains(14)...), perClient), 2000, true},
		{"15 domains", set(t, webApp("/a", domains(15)...), perClient), 1000, true},
		{"as many domains as it may have", set(t, webApp("/a", domains(2000)...), perClient), 125, true},
		{"as many paths", set(t, webApp("/a", domains(2)...), perClient, paths(90)), 0, true},
		{"all that makes routes", set(t, webApp("/a", domains(20)...), perClient, paths(3), "USE_HSTS=true", "MIRROR=/mirror 5%", "PRIORITY=/now /soon", "REDIRECT=/old -> https://x.test 301\n/older/* -> /new/*"), 0, true},
		{"no limit of clients", set(t, webApp("/a", domains(100)...), "RATE_LIMIT=10/s"), 0, false},
	} {
		c, _ := newTest(t, Config{})
		syncApps(c, tt.app, web)
		total, routes := 0, 0
		for _, domain := range c.Routed("/a").Ports[0].Domains {
			msg, err := c.fleets[0].build(xds.Key{Type: xds.Scope, Name: domain})
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			everyMessage(t, msg, func(m proto.Message) {
				limit, ok := m.(*localratelimitv3.LocalRateLimit)
				if !ok {
					return
				}
				n := limit.MaxDynamicDescriptors.GetValue()
				if n > 0 {
					routes++
				}
				if total += int(n); tt.each > 0 && n != tt.each {
					t.Fatalf("%s: an Envoy remembers %d clients of a route, want %d", tt.name, n, tt.each)
				}
			})
		}
		if total > maxLimitedClients || (routes > 0) != tt.limited {
			t.Errorf("%s: an Envoy remembers %d clients of %d routes", tt.name, total, routes)
		}
		if l := tt.app.Ports[0].HTTP.RequestLimits; l.PerClient != nil && l.PerClient.Clients != 0 {
			t.Errorf("%s: what was read is modified", tt.name)
		}
	}
}
