package envoy_test

import (
	"strings"
	"testing"

	"relay/internal/redistest"
	"relay/sources"
	"relay/xds/envoytest"
)

// Envoy survives transactions of a cache that has no servers, or has just lost them: without an endpoint it would crash.
// Clients stay connected, and are served as soon as there is a server.
func TestRedisTransactionsWithoutServers(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			c := e.newCache(t, "/shop/cache", 1, "", nil)
			servers := c.app.Ports[0].Endpoints
			c.app.Ports[0].Endpoints = nil
			e.c.SyncApps([]*sources.App{c.app})
			client := c.dial(t)
			transactions := func() {
				t.Helper()
				for _, commands := range []string{"MULTI,SET a x,EXEC", "MULTI,GET a,DISCARD", "GET a,MULTI,SET a x,SET b x,EXEC,GET a", "WATCH a,MULTI,SET a x,EXEC", "MULTI,SET a x"} {
					one, err := redistest.Dial(c.address)
					if err != nil {
						t.Fatalf("before %s: %v", commands, err)
					}
					for command := range strings.SplitSeq(commands, ",") {
						_, _ = one.Do(strings.Fields(command)...) // most are errors
					}
					_ = one.Close()
				}
				do(t, client, "PING")
			}
			transactions()
			if _, err := client.Do("GET", "a"); err == nil || !strings.Contains(err.Error(), "upstream failure") {
				t.Errorf("without servers: %v", err)
			}
			c.update(func(p *sources.Port) { p.Endpoints = servers })
			e.until(t, "there is a server", func() bool { _, err := client.Do("SET", "x", "1"); return err == nil })
			c.update(func(p *sources.Port) { p.Endpoints = nil })
			e.until(t, "there is none", func() bool { _, err := client.Do("GET", "x"); return err != nil })
			transactions()
			e.drainsNothing(t)
		})
	}
}
