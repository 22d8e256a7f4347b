package envoy_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"relay/credentials"
	"relay/internal/redistest"
	"relay/internal/secret"
	"relay/sources"
	"relay/xds/envoytest"
)

// give has a store with credentials, given as path=value.
func (e *realEnvoy) give(all ...string) {
	var given []*credentials.Credential
	for _, one := range all {
		path, value, _ := strings.Cut(one, "=")
		given = append(given, &credentials.Credential{Source: "dir", Path: path, Value: secret.Bytes(value)})
	}
	e.c.SyncCredentials("dir", given, nil)
}

// lets reports whether a new client gets in by a password.
func (c *cache) lets(t *testing.T, password string) bool {
	t.Helper()
	client, err := redistest.Dial(c.address)
	if err != nil {
		return false
	}
	defer client.Close()
	if _, err = client.Do("AUTH", password); err == nil {
		_, err = client.Do("GET", "x")
	}
	return err == nil
}

// drainsNothing holds that Envoy is about to end no connection.
func (e *realEnvoy) drainsNothing(t *testing.T, besides ...string) {
	t.Helper()
	stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^listener_manager.total_(listeners|filter_chains)_draining$"))
	if err != nil || len(stats) == 0 {
		t.Fatal(stats, err)
	}
	for stat, n := range stats {
		if n > 0 && !slices.Contains(besides, stat) {
			t.Errorf("%s is %d", stat, n)
		}
	}
}

// Clients need one of the passwords that the credential has now. Another value, and none, disconnect nobody who was let
// in by the one before, and nobody is let in while there is none.
func TestRedisPasswords(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			c := e.newCache(t, "/shop/cache", 2, "of-servers", func(r *sources.Redis) { r.Password, r.ServerPassword = "clients", "servers" })
			e.give("shop/servers=of-servers", "clients=nearer counts", "shop/clients=one\n")
			e.c.SyncApps([]*sources.App{c.app})
			first := c.dial(t, "one")
			stays := func(client *redistest.Client) {
				t.Helper()
				do(t, client, "SET", "x", "1")
				do(t, client, "SET", "y", "1")
			}
			stays(first)
			unknown, err := redistest.Dial(c.address)
			if err != nil {
				t.Fatal(err)
			}
			defer unknown.Close()
			if _, err := unknown.Do("GET", "x"); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
				t.Errorf("without a password: %v", err)
			}
			if c.lets(t, "nearer counts") || c.lets(t, "") || c.lets(t, "of-servers") {
				t.Error("another password lets in")
			}

			e.give("shop/servers=of-servers", "shop/clients=two\r\none\n")
			second := c.dial(t, "two")
			if !c.lets(t, "one") {
				t.Error("the second line of the credential does not let in")
			}
			e.give("shop/servers=of-servers", "shop/clients=two")
			e.until(t, "the old password is refused", func() bool { return !c.lets(t, "one") })
			third := c.dial(t, "two")
			e.give("shop/servers=of-servers")
			e.until(t, "nobody is let in", func() bool { return isClosed(c.address) })
			e.drainsNothing(t)
			for _, client := range []*redistest.Client{first, second, third} {
				stays(client)
			}
			e.give("shop/servers=of-servers", "shop/clients=three")
			stays(c.dial(t, "three"))
			stays(third)
			e.drainsNothing(t)

			// Servers have another password: those who are connected stay, and so they do when it comes.
			for _, s := range c.servers {
				s.SetPassword("newer")
			}
			e.give("shop/servers=newer", "shop/clients=three")
			both := func() bool {
				_, x := third.Do("SET", "x", "2")
				_, y := third.Do("SET", "y", "2")
				return x == nil && y == nil
			}
			e.until(t, "servers take the new password", both)
			stays(third)
		})
	}
}

// Without a credential nobody has ever been let in, the port is not opened; nor does an empty one open it.
func TestRedisWithoutCredential(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	closed := map[string]*cache{
		"no password of clients":            e.newCache(t, "/shop/a", 1, "", func(r *sources.Redis) { r.Password = "gone" }),
		"no password of servers":            e.newCache(t, "/shop/b", 1, "", func(r *sources.Redis) { r.ServerPassword = "gone" }),
		"one that is empty":                 e.newCache(t, "/shop/c", 1, "", func(r *sources.Redis) { r.Password = "empty" }),
		"one of line breaks":                e.newCache(t, "/shop/d", 1, "", func(r *sources.Redis) { r.Password = "lines" }),
		"one that another app's folder has": e.newCache(t, "/shop/e", 1, "", func(r *sources.Redis) { r.Password = "theirs" }),
	}
	open := e.newCache(t, "/shop/z", 1, "", nil)
	apps := []*sources.App{open.app}
	for _, c := range closed {
		apps = append(apps, c.app)
	}
	e.give("shop/empty=", "shop/lines=\r\n\n", "bank/theirs=x")
	e.c.SyncApps(apps)
	open.dial(t)
	for name, c := range closed {
		if !isClosed(c.address) {
			t.Errorf("%s: the port is open", name)
		}
	}
	e.give("shop/gone=now")
	closed["no password of clients"].dial(t, "now")
}

// Keys with a prefix are with the servers of the app that it names, if that allows it; else commands for them fail. Whatever
// becomes of the other app, no client is disconnected. A command for all servers reaches the app's own.
func TestRedisPrefixes(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	c := e.newCache(t, "/shop/cache", 2, "", func(r *sources.Redis) {
		r.Prefixes = []sources.RedisPrefix{
			{Prefix: "bank:", App: sources.AppRef{App: "/bank/cache"}}, {Prefix: "none:", App: sources.AppRef{App: "/shop/none"}},
			{Prefix: "sess:", App: sources.AppRef{App: "/shop/sessions"}}, {Prefix: "web:", App: sources.AppRef{App: "/shop/web"}},
		}
	})
	sessions := e.newCache(t, "/shop/sessions", 1, "theirs", func(r *sources.Redis) { r.Password, r.ServerPassword = "sessions", "sessions" })
	bank := e.newCache(t, "/bank/cache", 1, "", nil)
	e.give("shop/sessions=theirs")
	e.c.SyncApps([]*sources.App{c.app, sessions.app, bank.app, e.app("/shop/web", "web.test")})
	client := c.dial(t)
	e.until(t, "the other app is there", func() bool { _, err := client.Do("SET", "sess:1", "x"); return err == nil })
	do(t, client, "SET", "own", "x")
	if got := strings.Join(sessions.servers[0].Keys(), " "); got != "sess:1" {
		t.Errorf("the other app has %q", got)
	}
	for _, prefix := range []string{"bank:", "none:", "web:"} {
		if _, err := client.Do("SET", prefix+"1", "x"); err == nil || !strings.Contains(err.Error(), "upstream failure") {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	do(t, client, "FLUSHALL")
	if len(sessions.servers[0].Keys()) != 1 || len(c.servers[0].Keys())+len(c.servers[1].Keys()) > 0 {
		t.Error("FLUSHALL reaches others than the app's own servers")
	}

	e.c.UpdateApps(nil, []string{"/shop/sessions"})
	e.until(t, "the other app is gone", func() bool { _, err := client.Do("GET", "sess:1"); return err != nil })
	do(t, client, "SET", "own", "x")
	e.c.UpdateApps([]*sources.App{sessions.app}, nil)
	e.until(t, "it is back", func() bool { _, err := client.Do("GET", "sess:1"); return err == nil })
	e.drainsNothing(t, "listener_manager.total_listeners_draining") // that of the other app
	bank.update(func(p *sources.Port) { p.UsedBy = []string{"/shop/*"} })
	e.until(t, "the bank allows it", func() bool {
		one, err := redistest.Dial(c.address)
		if err != nil {
			return false
		}
		defer one.Close()
		_, err = one.Do("SET", "bank:1", "x")
		return err == nil
	})
}

// Networks keep clients out before they say something, and a change of them disconnects nobody. TLS ends at Envoy.
func TestRedisNetworks(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	c := e.newCache(t, "/shop/cache", 1, "", nil)
	let := func(networks ...string) {
		c.update(func(p *sources.Port) {
			h := &sources.HTTP{}
			for _, n := range networks {
				h.AllowedNetworks = append(h.AllowedNetworks, netip.MustParsePrefix(n))
			}
			p.HTTP = h
		})
	}
	e.c.SyncApps([]*sources.App{c.app})
	let("127.0.0.0/8", "10.0.0.0/8")
	client := c.dial(t)
	let("10.0.0.0/8", "::1/128")
	e.until(t, "the network is not let in", func() bool { return isClosed(c.address) })
	e.drainsNothing(t)
	do(t, client, "SET", "x", "1")
	let("127.0.0.1/32")
	do(t, c.dial(t), "GET", "x")
}
