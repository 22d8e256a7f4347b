package relay

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"relay/collator"
	"relay/internal/scrape"
)

// ownedWorld is what is known of apps with an owner.
type ownedWorld struct {
	t        *testing.T
	apps     []*collator.OwnedApp
	clusters map[string][2]uint64
	crashes  map[string]uint64
	counts   *ownerCounts
}

func newOwnedWorld(t *testing.T) *ownedWorld {
	w := &ownedWorld{t: t, clusters: make(map[string][2]uint64), crashes: make(map[string]uint64)}
	w.counts = &ownerCounts{
		owned:   func() []*collator.OwnedApp { return w.apps },
		cluster: func(fleet, name string) (uint64, uint64) { c := w.clusters[fleet+name]; return c[0], c[1] },
		crashed: func(fleet, app string) uint64 { return w.crashes[fleet+app] },
		apps:    make(map[ownedApp]*ownedCount),
	}
	return w
}

// read returns what is told, by app, owner and fleet, and how many are left out.
func (w *ownedWorld) read() (counts map[string]string, left float64) {
	counts = make(map[string]string)
	w.counts.count(func(m *scrape.Metric, value float64, labels ...string) {
		if m == appsLeftOutGauge {
			left = value
			return
		}
		key := fmt.Sprint(labels)
		counts[key] += fmt.Sprint(" ", value)
	})
	return counts, left
}

func (w *ownedWorld) expect(what, labels, want string) {
	w.t.Helper()
	if got, _ := w.read(); got[labels] != want {
		w.t.Errorf("%s: %s, want%s in %v", what, got[labels], want, got)
	}
}

// The requests of all ports of an app are summed up. What Envoys report may begin at 0 again: the sum goes on.
func TestRequestsOfOwnersOnlyGrow(t *testing.T) {
	t.Parallel()
	w := newOwnedWorld(t)
	w.apps = []*collator.OwnedApp{
		{ID: "/shop", Owner: "shop", Fleets: []string{"a", "b"}, Clusters: []string{"/shop_0", "/shop_1"}},
		{ID: "deployment-group/web", Owner: "web", Fleets: []string{"a"}, Clusters: []string{"deployment-group/web_0"}},
		{ID: "deployment-group/web", Owner: "web", Fleets: []string{"a"}, Clusters: []string{"deployment-group/web_0"}},
	}
	w.clusters["a/shop_0"], w.clusters["a/shop_1"], w.clusters["b/shop_0"] = [2]uint64{100, 10}, [2]uint64{20, 2}, [2]uint64{7, 0}
	w.clusters["adeployment-group/web_0"], w.crashes["a/shop"] = [2]uint64{5, 1}, 3
	w.expect("at first", "[/shop shop a]", " 120 12 3")
	w.expect("in the other fleet", "[/shop shop b]", " 7 0 0")
	w.expect("a deployment group once", "[deployment-group/web web a]", " 5 1 0")
	w.clusters["a/shop_0"] = [2]uint64{130, 11}
	w.expect("more", "[/shop shop a]", " 150 13 3")
	delete(w.clusters, "a/shop_1")
	w.expect("one port is forgotten", "[/shop shop a]", " 150 13 3")
	w.clusters["a/shop_1"], w.crashes["a/shop"] = [2]uint64{4, 4}, 1
	w.expect("and begins again", "[/shop shop a]", " 154 17 4")
	w.apps = w.apps[1:]
	w.expect("an app without an owner", "[/shop shop a]", "")
	if n := len(w.counts.apps); n != 1 {
		t.Errorf("%d apps are kept", n)
	}
}

// However many apps have owners, so many have series.
func TestSeriesOfOwnersAreBounded(t *testing.T) {
	t.Parallel()
	w := newOwnedWorld(t)
	for i := range maxOwned + 10 {
		w.apps = append(w.apps, &collator.OwnedApp{ID: fmt.Sprintf("/app-%05d", i), Owner: "o", Fleets: []string{"a"}, Clusters: []string{"c"}})
	}
	w.apps = append(w.apps, &collator.OwnedApp{ID: "/small", Owner: "other", Fleets: []string{"a"}, Clusters: []string{"c"}})
	counts, left := w.read()
	if len(counts) != maxOwned || left != 11 {
		t.Errorf("%d series, %v left out", len(counts), left)
	}
	if counts["[/small other a]"] == "" {
		t.Error("an owner of very many apps leaves no room for others")
	}
}

func BenchmarkRequestsOfOwners(b *testing.B) {
	w := newOwnedWorld(nil)
	for i := range maxOwned {
		id := fmt.Sprintf("/app-%05d", i)
		w.apps = append(w.apps, &collator.OwnedApp{ID: id, Owner: "o", Fleets: []string{"a"}, Clusters: []string{id + "_0"}})
	}
	registry := prometheus.NewRegistry()
	scrape.Register(registry, w.counts.count, appRequestsCounter, appErrorsCounter, appCrashedCounter, appsLeftOutGauge)
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
