package envoy_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"relay/internal/redistest"
	"relay/sources"
	"relay/xds/envoytest"
)

// BenchmarkRedis measures what a command takes directly and through Envoy, by one client and by fifty, and what a service
// of Redis takes in Envoy beside one of TCP.
func BenchmarkRedis(b *testing.B) {
	b.Run("command", func(b *testing.B) {
		e := startEnvoy(b, withoutHTTPS)
		c := e.newCache(b, "/shop/cache", 3, "", nil)
		e.c.SyncApps([]*sources.App{c.app})
		_ = c.dial(b).Close()
		for _, clients := range []int{1, 50} {
			for name, address := range map[string]string{"direct": c.servers[0].Address, "envoy": c.address} {
				b.Run(fmt.Sprintf("%s/clients=%d", name, clients), func(b *testing.B) { benchCommands(b, address, clients) })
			}
		}
	})
	const n = 100
	for _, kind := range []string{"tcp", "redis"} {
		b.Run("memory/"+kind, func(b *testing.B) {
			for b.Loop() {
				e := startEnvoy(b, withoutHTTPS)
				e.c.SyncApps([]*sources.App{e.app("/web", "web.test")})
				e.eventually(b, request{host: "web.test", path: "/"}, status(200))
				before := e.memory(b)
				var apps []*sources.App
				for i := range n {
					app := &sources.App{ID: fmt.Sprintf("/s%03d", i), Ports: []sources.Port{{
						Groups: []string{"external"}, Endpoints: endpoints("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
						Upstream: &sources.Upstream{Balance: sources.BalanceHash}, TCP: &sources.TCP{Port: envoytest.FreePort(b)},
					}}}
					if kind == "redis" {
						app.Ports[0].TCP.Redis = &sources.Redis{}
					}
					apps = append(apps, app)
				}
				e.c.UpdateApps(apps, nil)
				last := fmt.Sprintf("127.0.0.1:%d", apps[n-1].Ports[0].TCP.Port)
				e.until(b, "the last service is open", func() bool {
					c, err := redistest.Dial(last)
					if err == nil {
						_ = c.Close()
					}
					return err == nil
				})
				b.ReportMetric(float64(e.memory(b)-before)/n, "kB/service")
			}
		})
	}
}

func benchCommands(b *testing.B, address string, clients int) {
	var all sync.WaitGroup
	took := make([][]time.Duration, clients)
	for i := range clients {
		all.Go(func() {
			c, err := redistest.Dial(address)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			for n := range max(1, b.N/clients) {
				began := time.Now()
				if _, err := c.Do("SET", fmt.Sprintf("key:%d:%d", i, n%1000), "x"); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	all.Wait()
	together := slices.Concat(took...)
	slices.Sort(together)
	b.ReportMetric(float64(together[len(together)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(together[len(together)*99/100].Microseconds()), "p99-µs")
}
