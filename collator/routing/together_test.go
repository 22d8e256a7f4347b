package routing_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/sources"
)

// serving is an app that serves something together with others, with a weight for each instance.
func serving(id, service string, weight uint32, h sources.HTTP) *sources.App {
	h.Service, h.ClusterWeight = service, &weight
	return collatortest.WithHTTP(collatortest.App(id, "a.test"), h)
}

// Apps that name the same service share requests, if nobody else can have named it for them and all are restricted alike.
func TestAppsServeTogether(t *testing.T) {
	t.Parallel()
	closed, plain := sources.HTTP{Closed: true}, sources.HTTP{}
	for _, tt := range []struct {
		name   string
		apps   []*sources.App
		want   string
		losses []string
	}{
		{"the same service", []*sources.App{serving("/shop/a", "web", 1, plain), serving("/shop/b", "web", 1, plain)}, "/shop/a_0 /shop/b_0", nil},
		{"in no folder", []*sources.App{serving("/a", "web", 1, plain), serving("/b", "web", 1, plain)}, "/a_0 /b_0", nil},
		{"another service", []*sources.App{serving("/shop/a", "web", 1, plain), serving("/shop/b", "Web", 1, plain)}, "/shop/a_0", []string{"lowest app id"}},
		{"another tenant", []*sources.App{serving("/shop/a", "web", 1, plain), serving("/zeus/b", "web", 1, plain)}, "/shop/a_0", []string{`top-level folder, so that the services are two, though both are called "web"`}},
		{"another tenant between", []*sources.App{serving("/shop/a", "web", 1, plain), serving("/shoq/b", "web", 1, plain), serving("/shop/c", "web", 1, plain)}, "/shop/a_0 /shop/c_0", []string{"top-level folder"}},
		{"another tenant in no folder", []*sources.App{serving("/shop", "web", 1, plain), serving("/shop/a", "web", 1, plain)}, "/shop_0", []string{"top-level folder"}},
		{"a weight without a service", []*sources.App{serving("/shop/a", "web", 1, plain), serving("/shop/b", "", 1, plain)}, "/shop/a_0", []string{"lowest app id"}},
		{"a service beside a weight", []*sources.App{serving("/shop/a", "", 1, plain), serving("/shop/b", "web", 1, plain)}, "/shop/a_0", []string{"lowest app id"}},
		{"restricted otherwise", []*sources.App{serving("/shop/a", "web", 1, closed), serving("/shop/b", "web", 1, plain)}, "/shop/a_0", []string{"another password"}},
		{"another order", []*sources.App{serving("/shop/a", "web", 1, plain), serving("/shop/b", "web", 1, sources.HTTP{Order: 2})}, "/shop/b_0", []string{"largest"}},
		{"an app once", []*sources.App{serving("/shop/a", "web", 1, plain), twice(serving("/shop/b", "web", 1, plain))}, "/shop/a_0 /shop/b_0", []string{"lowest app id"}},
		{"one app alone", []*sources.App{twice(serving("/shop/b", "web", 1, plain))}, "/shop/b_0", []string{"lowest port"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fleet := collatortest.Fleet()
			var claims []routing.Claim
			for _, app := range tt.apps {
				claims = append(claims, fleet.ClaimsOf(app)["a.test"]...)
			}
			slices.SortFunc(claims, routing.CompareClaims)
			rules, losses := routing.RulesOf(claims)
			if len(rules) != 1 || len(losses) != len(tt.losses) {
				t.Fatalf("%d rules and losses %v", len(rules), losses)
			}
			var got []string
			for _, target := range rules[0].Targets {
				got = append(got, target.Cluster)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("served by %v, want %s", got, tt.want)
			}
			for i, l := range losses {
				if !strings.Contains(l.String(), tt.losses[i]) {
					t.Errorf("loss %q does not say %q", l, tt.losses[i])
				}
			}
		})
	}
}

// twice has an app with its first port once more.
func twice(app *sources.App) *sources.App {
	app.Ports = append(app.Ports, app.Ports[0])
	return app
}

// Each instance has the weight of its app.
func TestSharesByInstances(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		service   string
		weights   []uint32
		instances []int
		want      string
	}{
		{"web", []uint32{1, 1}, []int{3, 1}, "3 1"},
		{"web", []uint32{1, 10}, []int{3, 1}, "3 10"},
		{"web", []uint32{1, 1}, []int{0, 2}, "0 2"},
		{"web", []uint32{1, 1}, []int{0, 0}, "0 0"},
		{"web", []uint32{100, 1}, []int{1000, 1}, "10000 1"},
		{"web", []uint32{5}, []int{3}, "5"},
		{"", []uint32{90, 10}, []int{3, 1}, "90 10"},
	} {
		r := routing.Rule{HTTP: sources.HTTP{Service: tt.service}}
		of := make(map[string]int)
		for i, weight := range tt.weights {
			cluster := routing.ClusterName(fmt.Sprintf("/a%d", i), 0)
			r.Targets, of[cluster] = append(r.Targets, routing.Target{Cluster: cluster, Weight: weight}), tt.instances[i]
		}
		routing.ByInstances([]routing.Rule{r}, func(cluster string) int { return of[cluster] })
		var got []string
		for _, target := range r.Targets {
			got = append(got, fmt.Sprint(target.Weight))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("weights %v, instances %v: shares %v, want %s", tt.weights, tt.instances, got, tt.want)
		}
	}
}
