package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"relay/collator/routing"
)

// A fleet whose access logs go to a collector that the bootstrap of an Envoy does not name is a problem until it does. No
// request is lost.
func TestAccessLogWithoutCollectorIsSaid(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.relay.fleet.AccessLog = routing.AccessLog{Collector: true}
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.admin.problem("fleet external, Envoy envoy", "the bootstrap names none")
	w.envoy.Kill()
	w.envoy.accessLog = freeAddress(t)
	w.envoy.start()
	w.envoy.ready()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	w.eventually("the problem is gone", func() error {
		if found := w.admin.problemsOf("fleet external, Envoy envoy"); len(found) != 0 {
			return fmt.Errorf("%+v", found)
		}
		return nil
	})
}
