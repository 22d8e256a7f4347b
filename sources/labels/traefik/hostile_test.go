package traefik_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources/labels"
)

// What a tenant may write costs Relay little, however it is meant.
func TestHostileLabelsAreReadSoon(t *testing.T) {
	t.Parallel()
	with := func(each func(all map[string]string)) map[string]string {
		all := map[string]string{"traefik.enable": "true", "HAPROXY_GROUP": "external"}
		each(all)
		return all
	}
	for name, all := range map[string]map[string]string{
		"routers": with(func(all map[string]string) {
			for i := range 4900 {
				all[fmt.Sprintf("traefik.http.routers.r%d.rule", i)] = "Host(`a.test`)"
			}
		}),
		"services": with(func(all map[string]string) {
			for i := range 4900 {
				all[fmt.Sprintf("traefik.http.services.s%d.loadbalancer.server.port", i)] = "8080"
			}
		}),
		"alternatives": with(func(all map[string]string) {
			for i := range 60 {
				all[fmt.Sprintf("traefik.http.routers.r%d.rule", i)] = "Host(`a.test`) && " + strings.Repeat("(Path(`/a`) || Path(`/b`)) && ", 120) + "Path(`/c`)"
			}
		}),
		"nesting": with(func(all map[string]string) {
			for i := range 60 {
				all[fmt.Sprintf("traefik.http.routers.r%d.rule", i)] = strings.Repeat("!(", 1300) + "Host(`a.test`)" + strings.Repeat(")", 1300)
			}
		}),
		"empty chains of chains": with(func(all map[string]string) {
			all["traefik.http.routers.r.rule"], all["traefik.http.routers.r.middlewares"] = "Host(`a.test`)", "c0"
			for i := range 4 {
				all[fmt.Sprintf("traefik.http.middlewares.c%d.chain.middlewares", i)] = strings.Repeat(fmt.Sprintf("c%d,", i+1), 3000)
			}
			all["traefik.http.middlewares.c4.chain.middlewares"] = ","
		}),
		"chains in a circle": with(func(all map[string]string) {
			all["traefik.http.routers.r.rule"], all["traefik.http.routers.r.middlewares"] = "Host(`a.test`)", "c0"
			all["traefik.http.middlewares.c0.chain.middlewares"] = strings.Repeat("c1,", 100)
			all["traefik.http.middlewares.c1.chain.middlewares"] = strings.Repeat("c0,", 100)
		}),
		"expressions": with(func(all map[string]string) {
			for i := range 50 {
				all[fmt.Sprintf("traefik.http.routers.r%d.rule", i)] = "Host(`a.test`) && HeadersRegexp(`X-A`, `(?i)[a-z]*[a-m]{300}[k-z]{200}`) && Path(`/{a:[ab]*}{b:a}{c:[ab]{300}}`)"
			}
		}),
		"segments of Traefik 1": with(func(all map[string]string) {
			for i := range 3000 {
				all[fmt.Sprintf("traefik.s%d.frontend.rule", i)] = "Host:a.test;PathPrefixStripRegex:/{a:[ab]*}{b:a}{c:[ab]{300}}"
			}
		}),
	} {
		var app labels.App
		const limit = cputest.Slow * 500 * time.Millisecond
		took := time.Hour
		for range 3 { // the best one counts: others take the caches of the processor
			if took = min(took, cputest.Thread(func() { app, _ = read(options(t), all) })); took <= limit {
				break
			}
		}
		if took > limit {
			t.Errorf("%s: %s", name, took)
		} else {
			t.Logf("%s: %s, %d ports, %d problems", name, took, len(app.Ports), len(app.Problems))
		}
	}
}
