package envoy_test

import (
	"strings"
	"testing"

	"relay/internal/redistest"
	"relay/sources"
	"relay/xds/envoytest"
)

// transact does transactions that begin with a key, each as the first one of a connection. They fail; Envoy must survive them.
func transact(t *testing.T, key string, connect func() *redistest.Client) {
	t.Helper()
	for _, commands := range []string{"MULTI,SET k x,EXEC", "MULTI,GET k,DISCARD", "GET k,MULTI,SET k x,SET other x,EXEC,GET k", "WATCH k,MULTI,SET k x,EXEC", "MULTI,SET k x"} {
		one := connect()
		for command := range strings.SplitSeq(commands, ",") {
			args := strings.Fields(command)
			for i := range args {
				if args[i] == "k" {
					args[i] = key
				}
			}
			if answer, err := one.Do(args...); err == nil && args[0] == "GET" && answer != "QUEUED" {
				t.Errorf("%s of %q: %q", command, commands, answer)
			}
		}
		_ = one.Close()
	}
}

// connect connects to a cache that is open.
func (c *cache) connect(t *testing.T) *redistest.Client {
	t.Helper()
	one, err := redistest.Dial(c.address)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// Envoy survives transactions of keys with a prefix whose app is not there, is no cache, does not allow it, or has gone. Nothing is
// written anywhere.
func TestRedisTransactionsOfRefusedPrefixes(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			c := e.newCache(t, "/shop/cache", 1, "", func(r *sources.Redis) {
				r.Prefixes = []sources.RedisPrefix{
					{Prefix: "bank:", App: sources.AppRef{App: "/bank/cache"}}, {Prefix: "none:", App: sources.AppRef{App: "/shop/none"}},
					{Prefix: "other:", App: sources.AppRef{App: "/other/none"}}, {Prefix: "sess:", App: sources.AppRef{App: "/shop/sessions"}},
					{Prefix: "web:", App: sources.AppRef{App: "/shop/web"}},
				}
			})
			sessions, bank := e.newCache(t, "/shop/sessions", 1, "", nil), e.newCache(t, "/bank/cache", 1, "", nil)
			e.c.SyncApps([]*sources.App{c.app, sessions.app, bank.app, e.app("/shop/web", "web.test")})
			client := c.dial(t)
			e.until(t, "the other app is there", func() bool { _, err := client.Do("SET", "sess:1", "x"); return err == nil })
			connect := func() *redistest.Client { return c.connect(t) }
			for _, prefix := range []string{"bank:", "none:", "other:", "web:"} {
				transact(t, prefix+"1", connect)
				do(t, client, "PING")
			}
			e.c.UpdateApps(nil, []string{"/shop/sessions"})
			e.until(t, "the other app is gone", func() bool { _, err := client.Do("GET", "sess:1"); return err != nil })
			transact(t, "sess:1", connect)
			do(t, client, "PING")
			e.c.UpdateApps([]*sources.App{sessions.app}, nil)
			e.until(t, "it is back", func() bool { _, err := client.Do("GET", "sess:1"); return err == nil })
			for _, key := range append(c.servers[0].Keys(), bank.servers[0].Keys()...) {
				if strings.Contains(key, ":") {
					t.Errorf("a refused key was written: %s", key)
				}
			}
			e.drainsNothing(t, "listener_manager.total_listeners_draining") // that of the other app
		})
	}
}

// Envoy survives transactions of clients that stay connected when their cache is deleted.
func TestRedisTransactionsOfDeletedApps(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startEnvoyWith(t, envoytest.Options{Version: version, Args: []string{"--drain-time-s", "600"}}, withoutHTTPS)
			c := e.newCache(t, "/shop/cache", 1, "", nil)
			other := e.newCache(t, "/shop/other", 1, "", nil)
			e.c.SyncApps([]*sources.App{c.app, other.app})
			var clients []*redistest.Client
			for range 5 {
				clients = append(clients, c.dial(t))
			}
			within, witness := c.dial(t), other.dial(t)
			do(t, within, "MULTI")
			do(t, within, "SET", "a", "x")
			e.c.UpdateApps(nil, []string{"/shop/cache"})
			e.until(t, "the port is closed", func() bool { return isClosed(c.address) })
			e.until(t, "there are no servers", func() bool { _, err := clients[0].Do("GET", "a"); return err != nil })
			_, _ = within.Do("EXEC")
			transact(t, "a", func() *redistest.Client { one := clients[0]; clients = clients[1:]; return one })
			do(t, witness, "PING")
		})
	}
}
