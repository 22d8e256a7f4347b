package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"relay/internal/problem"
	"relay/xds/envoytest"
	"relay/xds/xdstest"
)

// versionProblems are those of the versions of Envoys.
func versionProblems(w *world) (all []problem.Problem) {
	for _, p := range w.admin.envoyProblems() {
		if p.Item == "version" {
			all = append(all, p)
		}
	}
	return all
}

// An Envoy that is older than Relay supports is served, and is a problem: one for its fleet,
// however many versions there are.
func TestOlderEnvoyIsAProblem(t *testing.T) {
	w := newWorld(t)
	w.start()
	if all := versionProblems(w); len(all) > 0 {
		t.Errorf("the newest Envoy: %+v", all)
	}
	for i, minor := range []uint32{34, 34, 35, 99, 20, 21, 22, 23, 24} {
		c := xdstest.Connect(t, w.relay.config.XDS.Address, "external", fmt.Sprintf("old-%d", i))
		if c.Version(1, minor, 1); i == 8 {
			c = xdstest.Connect(t, w.relay.config.XDS.Address, "external", "without")
		}
		c.Subscribe("type.googleapis.com/envoy.config.cluster.v3.Cluster")
		c.Next()
		defer c.Close()
	}
	w.admin.problem("fleet external, Envoy old-0, old-1, old-2, old-4, old-5 and 3 more", "older than 1.36, the oldest that Relay is tested with")
	all := versionProblems(w)
	if len(all) != 1 || len(all[0].Reason) > 600 {
		t.Errorf("problems are %+v", all)
	}
	if log := w.relay.log.String(); strings.Count(log, "an Envoy is older than Relay supports") != 8-1 || strings.Count(log, "newer than those that Relay is tested with") != 1 {
		t.Errorf("the log is\n%s", log)
	}
}

// What an old Envoy cannot serve is told before anybody asks for it, and only where an app
// needs it.
func TestLimitsOfOldEnvoysAreTold(t *testing.T) {
	w := newWorld(t)
	w.envoy.version = envoytest.Oldest
	w.start()
	w.marathon.deploy(app("/plain", "plain.test", 1))
	w.clients.expect("http://plain.test/", http.StatusOK, "/plain")
	w.clients.expect("http://unknown.test/", http.StatusNotFound, "")
	if all := w.admin.envoyProblems(); len(all) > 0 {
		t.Errorf("nothing needs a newer Envoy: %+v", all)
	}
	w.marathon.deploy(app("/wild", "*.wild.test", 1))
	w.admin.problem("fleet external, Envoy envoy", "version: of version 1.36.4, older than 1.38: they answer 404 for hosts below 1 wildcard domain")
	w.marathon.deploy(app("/secret", "secret.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.marathon.deploy(app("/sticky", "sticky.test", 1, "HAPROXY_0_STICKY", "true"))
	w.admin.problem("fleet external, Envoy envoy", "they answer 403 for 1 app with a password (/secret), and serve 1 app without the sticky "+
		"sessions that it asks for (/sticky), and answer 404 for hosts below 1 wildcard domain. Install Envoy 1.38 or newer")
	w.clients.expect("http://a.wild.test/", http.StatusNotFound, "")
	w.clients.expect("http://secret.test/", http.StatusForbidden, "")
	w.clients.expect("http://sticky.test/", http.StatusOK, "/sticky")
	w.clients.expect("http://PLAIN.test./", http.StatusOK, "/plain")
	// It never goes on with what was there before a password was asked for.
	w.marathon.deploy(app("/plain", "plain.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.clients.expect("http://plain.test/", http.StatusForbidden, "")
	w.envoy.accepted()
}

// Envoys of the version before know the filters of a password, and not all others.
func TestLimitsOfTheEnvoyBeforeAreTold(t *testing.T) {
	w := newWorld(t)
	w.envoy.version = "1.39"
	w.start()
	w.marathon.deploy(app("/secret", "secret.test", 1, "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.marathon.deploy(app("/text", "text.test", 1, "RELAY_0_COMPRESS", "gzip"))
	w.admin.problem("fleet external, Envoy envoy", "older than 1.40: they do not know compressed answers, and get no filters of domains that ask for that: "+
		"they serve 1 app without the compressed answers that it asks for (/text). Install Envoy 1.40 or newer")
	w.clients.expect("http://secret.test/", http.StatusUnauthorized, "")
	w.clients.expect("http://text.test/", http.StatusOK, "/text")
	w.marathon.deploy(app("/text", "text.test", 1, "RELAY_0_COMPRESS", "gzip", "HAPROXY_0_AUTH", "r:joe:"+passwordHash))
	w.admin.problem("fleet external, Envoy envoy", "they answer 403 for 1 app with a password (/text)")
	w.clients.expect("http://text.test/", http.StatusForbidden, "")
}

// A service that older Envoys are not sent, as they cannot end its TLS, may be one without TLS later, and the other
// way round: the Envoys go on, and open the port or close it.
func TestServicesWithTLSChangeForOldEnvoys(t *testing.T) {
	t.Parallel()
	for version, labels := range map[string][]string{envoytest.Oldest: nil, "1.37": {"HAPROXY_0_BIND_OPTIONS", "accept-proxy"}} {
		t.Run(version, func(t *testing.T) {
			w := newWorld(t)
			w.envoy.version = version
			tasks := startMarkedTasks(t, w.certs.ca, 1)
			address := freeAddress(t)
			_, port, _ := strings.Cut(address, ":")
			w.start()
			s := newStrangers(t, w.clients)
			for _, tls := range []string{"true", "false", "true", "false"} {
				all := []string{"HAPROXY_0_PORT", port, "HAPROXY_0_VHOST", "a.test", "HAPROXY_0_MODE", "tcp", "RELAY_0_TLS_TERMINATE", tls}
				if tls == "true" {
					all = append(all, labels...)
				}
				w.marathon.service("/a", []string{fmt.Sprintf("127.0.0.1:%d", tasks.ports[0])}, all...)
				w.eventually("the port is open or not", func() error {
					if open := s.connect(address, "", "GET / HTTP/1.0\r\n\r\n") == 0; open != (tls == "false") {
						return fmt.Errorf("TLS_TERMINATE is %s, and it is %t", tls, open)
					}
					return nil
				})
				w.envoy.nothingRejected()
			}
		})
	}
}
