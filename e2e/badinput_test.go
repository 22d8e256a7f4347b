package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// An app that is wrong in every way costs only itself, and the list of problems
// says what is wrong with it.
func TestBadApps(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(
		app("/good", "good.test", 1),
		app("/label", "label.test", 1, "HAPROXY_0_VHOSTS", "typo.test", "HAPROXY_0_REDIRECT_TO_HTTPS", "perhaps", "HAPROXY_7_VHOST", "beyond.test"),
		app("/domain", "http://url.test, ok.test, a~b.test", 1),
		app("/twin", "good.test, mine.test", 1),
		`{"id":"/noports","instances":1,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"noports.test"},"portDefinitions":[]}`,
	)
	w.marathon.SetRawApp("/nulls", json.RawMessage(`{"id":"/nulls","labels":null,"container":null,"tasks":null,"portDefinitions":null,"ports":null,`+
		`"ipAddress":null,"networks":null,"healthChecks":null,"instances":null,"version":null,"upgradeStrategy":null,"unreachableStrategy":null}`))
	w.marathon.SetRawApp("/types", json.RawMessage(`{"id":"/types","labels":{"HAPROXY_GROUP":["external"],"HAPROXY_0_VHOST":{}},"tasks":"none","ports":{"a":1}}`))
	w.start()
	w.clients.expect("http://good.test/", http.StatusOK, "/good")
	w.clients.expect("http://label.test/", http.StatusOK, "/label")
	w.clients.expect("http://ok.test/", http.StatusOK, "/domain")
	w.clients.expect("http://mine.test/", http.StatusOK, "/twin")
	w.admin.problem("/label", "HAPROXY_0_VHOSTS")
	w.admin.problem("/label", "perhaps")
	w.admin.problem("/label", "HAPROXY_7_VHOST")
	w.clients.expect("http://url.test/", http.StatusOK, "/domain")
	w.admin.problem("/domain", "is taken as url.test")
	w.admin.problem("/domain", "a~b")
	w.admin.problem("/twin", "/good")
	w.admin.problem("/noports", "port")
	w.admin.problem("/types", "")
	w.admin.settled()
	if n := w.envoy.rejections(); n != 0 {
		t.Errorf("Envoy rejected %d updates", n)
	}
}

// Names are never cut short, so two long ones stay two.
func TestTrap28LongNames(t *testing.T) {
	w := newWorld(t)
	long := "/" + strings.Repeat("a-very-long-group/", 12) + "app-"
	w.marathon.deploy(app(long+"1", "one.test", 1), app(long+"2", "two.test", 1))
	w.start()
	w.clients.expect("http://one.test/", http.StatusOK, long+"1")
	w.clients.expect("http://two.test/", http.StatusOK, long+"2")
}
