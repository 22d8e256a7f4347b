package e2e

import (
	"net/http"
	"slices"
	"testing"

	"relay/collator"
	"relay/sources"
)

// Two apps of a deployment group are one service under one cluster: tasks of
// the old one make room for those of the new one, and no request fails.
func TestDeploymentGroupLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	colour := func(name string, instances int, startedAt string) string {
		return app("/web-"+name, "web.test", instances, "HAPROXY_DEPLOYMENT_GROUP", "web", "HAPROXY_DEPLOYMENT_ALT_PORT", "10001",
			"HAPROXY_DEPLOYMENT_COLOUR", name, "HAPROXY_DEPLOYMENT_STARTED_AT", startedAt, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2")
	}
	w.marathon.deploy(colour("blue", 2, "2026-05-01T12:00:00.000001"))
	w.clients.expect("http://web.test/", http.StatusOK, "/web-blue")
	if cluster := w.admin.cluster("/web-blue"); cluster != "deployment-group/web_0" {
		t.Errorf("the cluster is %s", cluster)
	}
	old := w.marathon.taskIDs("/web-blue")
	clusters := w.envoy.stat(`^cluster_manager\.cluster_(added|modified|removed)$`)

	l := w.clients.load(200, ok, "http://web.test/")
	w.marathon.deploy(colour("green", 1, "2026-05-01T13:00:00.000001"))
	w.clients.serves("web.test", append(w.marathon.taskIDs("/web-green"), old[1])...)
	if a, _ := w.admin.app("/web-blue"); slices.IndexFunc(a.Ports[0].Endpoints, func(e collator.EndpointView) bool { return e.Task == old[0] && e.Health == sources.Draining }) < 0 {
		t.Errorf("%s is not shown to drain: %+v", old[0], a.Ports[0].Endpoints)
	}
	w.marathon.deploy(colour("green", 2, "2026-05-01T13:00:00.000001"))
	w.clients.serves("web.test", w.marathon.taskIDs("/web-green")...)
	if err := w.marathon.DeleteApp("/web-blue"); err != nil {
		t.Fatal(err)
	}
	w.marathon.idle()
	w.marathon.deploy(colour("blue", 1, "2026-05-01T14:00:00.000001"))
	green := w.marathon.taskIDs("/web-green")
	w.clients.serves("web.test", append(w.marathon.taskIDs("/web-blue"), green[1])...)
	w.clients.noFailure(l, 100)
	if n := w.envoy.stat(`^cluster_manager\.cluster_(added|modified|removed)$`); n != clusters {
		t.Errorf("%d clusters changed", n-clusters)
	}
	w.envoy.accepted()
}

// Labels do with clusters on demand what they do without, from the first
// request.
func TestLabelsWithClustersOnDemand(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.ClustersOnDemand = true
	w.marathon.deploy(
		app("/a", "shop.test,*.shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "50", "HAPROXY_0_AUTH", "r:joe:"+passwordHash),
		app("/b", "shop.test,*.shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "50", "HAPROXY_0_AUTH", "r:joe:"+passwordHash),
		app("/sticky", "sticky.test", 2, "HAPROXY_0_STICKY", "true", "HAPROXY_0_BALANCE", "uri"),
	)
	w.start()
	seen := make(map[string]int)
	for i := range 60 {
		host := []string{"shop.test", "X.shop.test"}[i%2]
		if a := w.clients.do("http://shop.test/", "Host", host); a.status != http.StatusUnauthorized {
			t.Fatalf("request %d: status %d", i, a.status)
		}
		a := w.clients.do("http://shop.test/", "Host", host, "Authorization", "Basic am9lOnBhc3N3b3Jk")
		if a.status != http.StatusOK {
			t.Errorf("request %d: status %d", i, a.status)
		}
		seen[a.header.Get("X-App")]++
	}
	if seen["/a"] < 5 || seen["/b"] < 5 {
		t.Errorf("shares are %v", seen)
	}
	if a := w.clients.do("http://sticky.test/"); a.status != http.StatusOK || a.header.Get("Set-Cookie") == "" {
		t.Errorf("status %d, cookie %q", a.status, a.header.Get("Set-Cookie"))
	}
}
