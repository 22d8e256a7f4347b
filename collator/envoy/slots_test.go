package envoy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// owned returns which instance each of n ids goes to.
func (e *realEnvoy) owned(t *testing.T, host string, n int) []string {
	t.Helper()
	owners := make([]string, n)
	for i := range owners {
		_, owners[i], _ = strings.Cut(e.answeredBy(t, host, fmt.Sprintf("/agents/id%d", i)), "-")
	}
	return owners
}

// differ returns how many ids went to another instance, and from and to which.
func differ(before, after []string) (n int, from, to map[string]bool) {
	from, to = make(map[string]bool), make(map[string]bool)
	for i := range before {
		if before[i] != after[i] {
			n++
			from[before[i]], to[after[i]] = true, true
		}
	}
	return n, from, to
}

// An instance with the slot of one that drains takes over exactly its ids, wherever it runs. Each version of Envoy sends an id
// to the same instance.
func TestSlotsOwnIDs(t *testing.T) {
	t.Parallel()
	const n = 300
	var mu sync.Mutex
	all := make(map[string][]string) // by version
	t.Cleanup(func() {
		versions := slices.Sorted(maps.Keys(all))
		for _, version := range versions {
			if moved, _, _ := differ(all[versions[0]], all[version]); moved > 0 {
				t.Errorf("Envoy %s sends %d of %d ids to other instances than Envoy %s", version, moved, n, versions[0])
			}
		}
	})
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			app := e.agents("/a", "a.test", sources.Hash{By: sources.HashPathSegment, Segment: 2}, 6)
			update := func(change func(p *sources.Port)) {
				app = changed(app, func(p *sources.Port) { p.Endpoints = slices.Clone(p.Endpoints); change(p) })
				e.c.UpdateApps([]*sources.App{app}, nil)
			}
			e.c.SyncCertificates("vault", nil, nil)
			e.c.SyncApps([]*sources.App{app})
			e.eventually(t, request{host: "a.test", path: "/"}, status(200))
			first := e.owned(t, "a.test", n)
			mu.Lock()
			all[version] = first
			mu.Unlock()

			// Until Envoy has it, ids go where they went.
			settle := func(so func(now []string) bool) (now []string) {
				t.Helper()
				e.until(t, "ids move as they should", func() bool { now = e.owned(t, "a.test", n); return so(now) })
				return now
			}
			update(func(p *sources.Port) {
				p.Endpoints[2].Health = sources.Draining
				p.Endpoints = append(p.Endpoints, endpoints(e.backend("/a-new"))...)
				p.Endpoints[6].Slot, p.Endpoints[6].Zone = 3, "elsewhere"
			})
			// The change may come between two of the ids.
			now := settle(func(now []string) bool { return slices.Contains(now, "new") && !slices.Contains(now, "3") })
			if moved, from, to := differ(first, now); len(from) != 1 || !from["3"] || len(to) != 1 || moved == 0 {
				t.Errorf("replaced: %d ids moved from %v to %v", moved, from, to)
			}
			update(func(p *sources.Port) { p.Endpoints = slices.Delete(p.Endpoints, 2, 3) })
			update(func(p *sources.Port) { p.Endpoints[0].Health = sources.Draining })
			gone := settle(func(now []string) bool { return !slices.Contains(now, "1") })
			moved, from, to := differ(now, gone)
			if own := strings.Count(strings.Join(now, " ")+" ", "1 "); moved > own+n*3/100 || !from["1"] || len(to) < 4 {
				t.Errorf("one drains: %d ids moved, of which %d were its own, from %v to %v", moved, own, from, to)
			}
			update(func(p *sources.Port) { p.Endpoints[0].Health = sources.Healthy })
			settle(func(back []string) bool { return slices.Equal(back, now) })
		})
	}
}
