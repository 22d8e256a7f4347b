package collator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/xds"
)

// The clusters that a cache names are there whatever becomes of it and of the apps that it names, and an hour after nobody names
// them any more. They have the endpoint that refuses, and no app is changed for them.
func TestClustersThatCachesNameRefuse(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	now := testTime
	c.now = func() time.Time { return now }
	cache := func(prefixes ...sources.RedisPrefix) *sources.App {
		return serviceApp("/a/cache", sources.TCP{Port: 6001, Redis: &sources.Redis{Prefixes: prefixes}})
	}
	sessions := serviceApp("/a/sessions", sources.TCP{Port: 6002, Redis: &sources.Redis{}})
	all := []string{"/a/cache_0", "/a/sessions_0", "none"}
	has := func(when string, want ...string) {
		t.Helper()
		for _, cluster := range all {
			_, there := r.Versions[xds.Key{Type: xds.Cluster, Name: cluster}]
			_, endpoints := r.Versions[xds.Key{Type: xds.Endpoint, Name: cluster}]
			if wanted := strings.Contains(strings.Join(want, " "), cluster); there != wanted || endpoints != wanted {
				t.Errorf("%s: cluster %s is there: %t, and its endpoints: %t", when, cluster, there, endpoints)
			}
			if msg, err := message(c.fleets[0], xds.Key{Type: xds.Endpoint, Name: cluster}); there && (cluster != all[0] || c.apps["/a/cache"] == nil) && (err != nil || !strings.Contains(fmt.Sprint(msg), "127.0.0.1")) {
				t.Errorf("%s: the endpoints of %s: %v, %v", when, cluster, msg, err)
			}
		}
	}
	syncApps(c, webApp("/web"), cache())
	has("without prefixes", "/a/cache_0")
	syncApps(c, webApp("/web"), cache(sources.RedisPrefix{Prefix: "s:", App: sources.AppRef{App: "/a/sessions"}}))
	has("its app is not there", all...)
	syncApps(c, webApp("/web"), cache(sources.RedisPrefix{Prefix: "s:", App: sources.AppRef{App: "/a/sessions"}}), sessions)
	syncApps(c, webApp("/web"), cache(sources.RedisPrefix{Prefix: "s:", App: sources.AppRef{App: "/a/sessions"}}))
	has("its app has gone", all...)
	now = now.Add(2 * refusesFor)
	syncApps(c, webApp("/web"))
	has("the cache has just gone", all...)
	c.reindex()
	c.round()
	has("all is built again", all...)
	now = now.Add(2 * refusesFor)
	syncApps(c, webApp("/web"), serviceApp("/other", sources.TCP{Port: 6003}))
	has("an hour later")
	if f := c.fleets[0].refusing; len(f.by)+len(f.named)+len(f.left) > 0 {
		t.Errorf("%+v is left", f)
	}
}

// Clusters that nobody names any more are kept up to a limit.
func TestRefusingClustersAreLimited(t *testing.T) {
	t.Parallel()
	r, marked := newRefusing(), 0
	for i := range 2 * maxRefusing {
		r.note("/a", []string{fmt.Sprintf("/%d_0", i)}, testTime, func(string) { marked++ })
	}
	if r.note("/a", nil, testTime, func(string) { marked++ }); len(r.left) != maxRefusing || marked != 3*maxRefusing {
		t.Errorf("%d are kept, and %d marked", len(r.left), marked)
	}
}
