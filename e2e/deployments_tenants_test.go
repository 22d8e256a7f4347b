package e2e

import (
	"net/http"
	"testing"
)

// Another tenant's apps that name deployment groups, as their oldest apps, cost those that are there nothing: neither a
// request, nor a connection, nor their domains, labels, names and releases. Also after a restart of Relay, and though the
// folder comes first.
func TestDeploymentGroupsOfTenants(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	port, address := w.tcp.port()
	member := func(id, startedAt string) string {
		return app(id, "web.test", 2, "HAPROXY_DEPLOYMENT_GROUP", "web", "HAPROXY_DEPLOYMENT_STARTED_AT", startedAt, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2")
	}
	server := func(id, startedAt string) string {
		return connectionServer(id, port, 1, "HAPROXY_DEPLOYMENT_GROUP", "imp", "HAPROXY_DEPLOYMENT_STARTED_AT", startedAt)
	}
	w.marathon.deploy(member("/shop/web-blue", "2026-05-01T12:00:00Z"), server("/shop/imp", "2026-05-01T12:00:00Z"))
	w.start()
	w.listens(address)
	w.clients.expect("http://web.test/", http.StatusOK, "/shop/web-blue")
	devices := w.connect(address, 10)
	listeners := w.envoy.listeners()

	l := w.clients.load(100, ok, "http://web.test/")
	evil := app("/a/web", "evil.test,web.test", 1, "HAPROXY_DEPLOYMENT_GROUP", "/web/", "HAPROXY_DEPLOYMENT_STARTED_AT", "1999-05-01T12:00:00Z", "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.9.9.9")
	w.marathon.deploy(evil, server("/a/imp", "1999-05-01T12:00:00Z"))
	w.clients.expect("http://evil.test/", http.StatusForbidden, "")
	check := func(when string) {
		t.Helper()
		w.stay(devices)
		for id, cluster := range map[string]string{
			"/shop/imp": "deployment-group/imp_0", "/shop/web-blue": "deployment-group/web_0", "/a/web": "deployment-group/web@a_0", "/a/imp": "deployment-group/imp@a_0",
		} {
			if got := w.admin.cluster(id); got != cluster {
				t.Errorf("%s: the cluster of %s is %s, want %s", when, id, got, cluster)
			}
		}
		if after := w.envoy.listeners(); after != listeners {
			t.Errorf("%s: the listeners were %s, and are %s", when, listeners, after)
		}
		w.clients.serves("web.test", w.marathon.taskIDs("/shop/web-blue")...)
		w.admin.problem("/a/web", `which is called "web@a"`)
		if problems := w.admin.problemsOf("/shop/web-blue"); len(problems) > 0 {
			t.Errorf("%s: %+v", when, problems)
		}
	}
	check("they came")
	w.relay.stop()
	w.relay.start()
	w.admin.settled()
	check("Relay was started anew")

	w.marathon.deploy(member("/shop/web-green", "2026-05-01T13:00:00Z"))
	w.clients.serves("web.test", w.marathon.taskIDs("/shop/web-green")...)
	if cluster := w.admin.cluster("/shop/web-green"); cluster != "deployment-group/web_0" {
		t.Errorf("the cluster of the new app is %s", cluster)
	}
	w.clients.noFailure(l, 100)
	w.stay(devices)
	w.envoy.accepted()
}
