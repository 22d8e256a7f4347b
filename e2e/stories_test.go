package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"relay/admin/api"
	"relay/xds/envoytest"
)

// podStory is a pod at a port on which nothing listens.
const podStory = `{"id": "/pod", "status": "STABLE",
	"spec": {"id": "/pod", "version": "2024-05-01T10:00:00Z", "labels": {"HAPROXY_GROUP": "external", "HAPROXY_web_VHOST": "pod.test"},
		"networks": [{"mode": "host"}], "scaling": {"kind": "fixed", "instances": 1},
		"containers": [{"name": "c", "endpoints": [{"name": "web", "hostPort": 0, "protocol": ["tcp"]}]}]},
	"instances": [{"id": "pod.instance-1", "status": "STABLE", "agentHostname": "127.0.0.1",
		"containers": [{"name": "c", "status": "TASK_RUNNING", "endpoints": [{"name": "web", "allocatedHostPort": 9}]}]}]}`

// Apps that are routed in another way than most have a story like theirs: those of a deployment
// group, a TCP service, an app in two fleets, a pod.
func TestStoriesOfOddApps(t *testing.T) {
	w := newWorld(t)
	second := *w.relay.fleet
	second.Name = "second"
	w.relay.config.Fleets = append(w.relay.config.Fleets, second)
	w.relay.fleet = &w.relay.config.Fleets[0]
	w.relay.config.Apps.Marathon.Pods = true
	colour := func(name string, instances int) string {
		return app("/web-"+name, "web.test", instances, "HAPROXY_DEPLOYMENT_GROUP", "web", "HAPROXY_DEPLOYMENT_COLOUR", name,
			"HAPROXY_DEPLOYMENT_STARTED_AT", "2026-05-01T12:00:00", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2")
	}
	w.marathon.deploy(colour("blue", 1), colour("green", 1), app("/both", "both.test", 1, "HAPROXY_GROUP", "external,second"))
	port, db := w.tcp.port()
	w.marathon.service("/db", []string{w.tcp.lines("a", nil)}, modeLabel, "tcp", portLabel, port)
	if err := w.marathon.ApplyPod(podStory); err != nil {
		t.Fatal(err)
	}
	w.start()
	envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, Fleet: "second"})
	w.clients.expect("http://both.test/", http.StatusOK, "/both")
	w.tcp.greeted(db, "a")
	w.clients.do("http://pod.test/")
	w.marathon.deploy(colour("blue", 0), colour("green", 0))
	w.eventually("the group has no task", func() error {
		if a := w.clients.do("http://web.test/"); a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	w.admin.streams(2)
	w.admin.settled()
	for _, want := range []struct{ id, cluster, fleets, code, change string }{
		{"/web-blue", "deployment-group/web_0", "external", "offline", "port 0: -127.0.0.1:"},
		{"/web-green", "deployment-group/web_0", "external", "offline", "port 0: -127.0.0.1:"},
		{"/db", "/db_0", "external", "", "port 0: +127.0.0.1:"},
		{"/both", "/both_0", "external second", "", "domain both.test added"},
		{"/pod", "/pod_0", "external", "unreachable", "domain pod.test added"},
	} {
		w.eventually("the story of "+want.id, func() error {
			var s api.AppStory
			if !w.admin.read("/api/v1/apps"+want.id, &s) || len(s.Ports) != 1 || s.Ports[0].Cluster != want.cluster || len(s.Labels) == 0 {
				return fmt.Errorf("ports %+v, labels %v", s.Ports, s.Labels)
			}
			var fleets []string
			for _, e := range s.Envoys {
				if fleets = append(fleets, e.Fleet); e.Needs == 0 || e.Acknowledged != e.Needs {
					return fmt.Errorf("an Envoy has %d of %d resources", e.Acknowledged, e.Needs)
				}
			}
			if slices.Sort(fleets); strings.Join(fleets, " ") != want.fleets || !slices.Equal(fleets, s.Ports[0].Fleets) {
				return fmt.Errorf("Envoys of %v, fleets %v, want %s", fleets, s.Ports[0].Fleets, want.fleets)
			}
			if len(s.LastChanges) == 0 || !strings.Contains(strings.Join(s.LastChanges[0].What, "; "), want.change) || s.LastChanges[0].Cause == "" || s.Changed.IsZero() {
				return fmt.Errorf("last changes %+v, want %s", s.LastChanges, want.change)
			}
			if want.code != "" && (len(s.LastFailures) == 0 || s.LastFailures[0].Code != want.code || s.Failures == nil || *s.Failures == 0) {
				return fmt.Errorf("last failures %+v, want %s", s.LastFailures, want.code)
			}
			return nil
		})
	}
}
