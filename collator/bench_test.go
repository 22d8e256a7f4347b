package collator

import (
	"fmt"
	"slices"
	"testing"

	"relay/sources"
)

func benchmarkChange(b *testing.B, change func(i int) *sources.App) {
	for _, n := range []int{1_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _ := newTest(b, Config{})
			c.fleets[0].publisher = discard{}
			apps := make([]*sources.App, n)
			for i := range apps {
				apps[i] = webApp(fmt.Sprint("/app-", i), fmt.Sprintf("app-%d.example.test", i))
			}
			syncApps(c, apps...)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				updateApps(c, change(i))
			}
		})
	}
}

func BenchmarkEndpointChange(b *testing.B) {
	benchmarkChange(b, func(i int) *sources.App {
		return changed(webApp("/app-7", "app-7.example.test"), func(p *sources.Port) {
			p.Endpoints = endpoints(fmt.Sprintf("10.0.0.%d:1", 1+i%2))
		})
	})
}

func BenchmarkNewDomain(b *testing.B) {
	benchmarkChange(b, func(i int) *sources.App {
		return webApp("/app-7", "app-7.example.test", fmt.Sprintf("new-%d.example.test", i))
	})
}

func BenchmarkFirstSync(b *testing.B) {
	apps := make([]*sources.App, 50_000)
	for i := range apps {
		apps[i] = webApp(fmt.Sprint("/app-", i), fmt.Sprintf("app-%d.example.test", i))
	}
	for range b.N {
		c, _ := newTest(b, Config{})
		c.fleets[0].publisher = discard{}
		syncApps(c, apps...)
	}
}

func BenchmarkUnchangedSync(b *testing.B) {
	apps := make([]*sources.App, 50_000)
	read := func() []*sources.App {
		for i := range apps {
			apps[i] = webApp(fmt.Sprint("/app-", i), fmt.Sprintf("app-%d.example.test", i))
		}
		return apps
	}
	c, _ := newTest(b, Config{})
	syncApps(c, read()...)
	again := slices.Clone(read())
	b.ResetTimer()
	for range b.N {
		syncApps(c, again...)
	}
}
