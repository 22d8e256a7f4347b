package envoy_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"relay/collator/envoy"
	"relay/internal/redistest"
	"relay/sources"
	"relay/xds/envoytest"
)

// cache is an app whose instances are servers of Redis.
type cache struct {
	*realEnvoy
	app     *sources.App
	address string
	servers []*redistest.Server
}

// newCache has an app with n servers, which takes no effect before it is published. Set changes its TCP service.
func (e *realEnvoy) newCache(t testing.TB, id string, n int, password string, set func(*sources.Redis)) *cache {
	t.Helper()
	port := envoytest.FreePort(t)
	if !e.fleet.Redis {
		t.Fatal("the fleet has no caches")
	}
	redis := &sources.Redis{}
	if set != nil {
		set(redis)
	}
	c := &cache{realEnvoy: e, address: fmt.Sprintf("127.0.0.1:%d", port)}
	var endpoints []sources.Endpoint
	for i := range n {
		c.servers = append(c.servers, redistest.Start(t, password))
		endpoints = append(endpoints, serverAt(c.servers[i], i+1))
	}
	c.app = &sources.App{ID: id, Ports: []sources.Port{{
		Groups: []string{"external"}, Endpoints: endpoints, Upstream: &sources.Upstream{Balance: sources.BalanceHash},
		TCP: &sources.TCP{Port: port, Redis: redis},
	}}}
	return c
}

func serverAt(s *redistest.Server, slot int) sources.Endpoint {
	return sources.Endpoint{Address: netip.MustParseAddrPort(s.Address), Task: s.Address, Slot: slot}
}

func (c *cache) update(change func(p *sources.Port)) {
	c.app = changed(c.app, func(p *sources.Port) { p.Endpoints = slices.Clone(p.Endpoints); change(p) })
	c.c.UpdateApps([]*sources.App{c.app}, nil)
}

// dial connects, and shows passwords.
func (c *cache) dial(t testing.TB, passwords ...string) *redistest.Client {
	t.Helper()
	var client *redistest.Client
	c.until(t, "a client is let in", func() bool {
		one, err := redistest.Dial(c.address)
		if err != nil {
			return false
		}
		for _, password := range passwords {
			_, err = one.Do("AUTH", password)
		}
		if err == nil {
			_, err = one.Do("PING")
		}
		if err != nil {
			_ = one.Close()
			return false
		}
		client = one
		return true
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// do has a command done that must succeed.
func do(t *testing.T, c *redistest.Client, args ...string) string {
	t.Helper()
	answer, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return answer
}

const keyCount = 1000

func keyOf(i int) string { return fmt.Sprintf("key:%d", i) }

// owners sets all keys, and returns which server has each.
func (c *cache) owners(t *testing.T, client *redistest.Client) []int {
	t.Helper()
	for i := range keyCount {
		do(t, client, "SET", keyOf(i), "x")
	}
	owners := make([]int, keyCount)
	for i := range owners {
		owners[i] = -1
	}
	has := make(map[string]int)
	for s, server := range c.servers {
		for _, key := range server.Keys() {
			has[key] = s
		}
	}
	for i := range owners {
		owners[i] = has[keyOf(i)]
	}
	return owners
}

// settle waits until keys are where they should be, and stay: a change may come between two of them.
func (c *cache) settle(t *testing.T, client *redistest.Client, what string, so func(now []int) bool) (now []int) {
	t.Helper()
	c.until(t, what, func() bool {
		for _, s := range c.servers {
			s.Forget()
		}
		before := now
		now = c.owners(t, client)
		return so(now) && slices.Equal(now, before)
	})
	return now
}

// moved returns how many keys have another server, and how many of those were with one.
func moved(before, after []int, of int) (all, others int) {
	for i := range before {
		if before[i] != after[i] {
			if all++; before[i] != of {
				others++
			}
		}
	}
	return all, others
}

// One more of three servers takes a quarter of the keys, and none moves between the others. One that is replaced, wherever the
// new one runs, has its keys go to the new one alone. One that drains is asked no more. All versions of Envoy say so.
func TestRedisKeysStay(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			c := e.newCache(t, "/shop/cache", 3, "", nil)
			e.c.SyncApps([]*sources.App{c.app})
			client := c.dial(t)
			three := c.owners(t, client)
			c.servers = append(c.servers, redistest.Start(t, ""))
			c.update(func(p *sources.Port) { p.Endpoints = append(p.Endpoints, serverAt(c.servers[3], 4)) })
			four := c.settle(t, client, "the fourth server has keys", func(now []int) bool { return slices.Contains(now, 3) })
			if all, _ := moved(three, four, -1); all < keyCount*20/100 || all > keyCount*30/100 {
				t.Errorf("a fourth server moves %d of %d keys", all, keyCount)
			}
			others := 0
			for i := range three {
				if four[i] != 3 && four[i] != three[i] {
					others++
				}
			}
			if others > keyCount/100 {
				t.Errorf("a fourth server moves %d keys between the others", others)
			}
			c.servers = append(c.servers, redistest.Start(t, ""))
			c.update(func(p *sources.Port) {
				p.Endpoints[1].Health = sources.Draining
				p.Endpoints = append(p.Endpoints, serverAt(c.servers[4], 2))
			})
			replaced := c.settle(t, client, "the new server has keys", func(now []int) bool { return slices.Contains(now, 4) && !slices.Contains(now, 1) })
			if all, others := moved(four, replaced, 1); others > keyCount*2/100 || all == 0 {
				t.Errorf("one is replaced: %d keys move, and %d of them were with others", all, others)
			}
		})
	}
}

// A command for all servers reaches each of them once. Envoy asks as many entries at the beginning of its table as there
// are servers.
func TestRedisAsksAllServers(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	c := e.newCache(t, "/shop/cache", 7, "", nil)
	all := c.app.Ports[0].Endpoints
	c.app.Ports[0].Endpoints = all[:1]
	e.c.SyncApps([]*sources.App{c.app})
	client := c.dial(t)
	for n := 1; n <= len(all); n++ {
		c.update(func(p *sources.Port) { p.Endpoints = all[:n] })
		c.settle(t, client, fmt.Sprintf("there are %d servers", n), func(now []int) bool { return slices.Contains(now, n-1) })
		if got := len(strings.Fields(do(t, client, "KEYS", "*"))); got != keyCount {
			t.Errorf("of %d servers, KEYS finds %d of %d keys", n, got, keyCount)
		}
		do(t, client, "FLUSHALL")
		for i, s := range c.servers {
			if left := len(s.Keys()); left > 0 {
				t.Errorf("of %d servers, FLUSHALL leaves %d keys on server %d", n, left, i)
			}
		}
	}
}

// The keys of slots have the property for which they were chosen, and the table keeps what is promised.
func TestRedisKeys(t *testing.T) {
	t.Parallel()
	for n := 1; n <= envoy.RedisKeys; n++ {
		slots := make([]int, n)
		for i := range slots {
			slots[i] = i + 1
		}
		table := maglevOf(envoy.MaglevSize, slots, envoy.RedisHashKeyOf)
		for i := range slots {
			if table[i] != i+1 {
				t.Fatalf("of %d slots, entry %d has slot %d", n, i, table[i])
			}
		}
		if n > 32 {
			continue
		}
		more := maglevOf(envoy.MaglevSize, append(slots, n+1), envoy.RedisHashKeyOf)
		if share, all := 100/float64(n+1), entriesMoved(table, more); all > share+1 {
			t.Errorf("of %d servers, one more moves %.2f %% of the keys, and has %.2f %%", n, all, share)
		}
	}
}

// isClosed reports whether new clients are sent away before they say something.
func isClosed(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return true
	}
	client := redistest.NewClient(conn)
	defer client.Close()
	_, err = client.Do("PING")
	refused := redistest.Error("")
	return err != nil && !errors.As(err, &refused)
}
