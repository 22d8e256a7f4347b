package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/admin/api"
	"relay/collator/routing"
	"relay/internal/relay"
	"relay/xds/envoytest"
)

// twoPorts is an app with two ports: one with a domain and a wildcard for the fleet external, one with a
// password for the fleet internal.
func twoPorts(labels ...string) string {
	all := map[string]string{
		"HAPROXY_0_VHOST": "shop.test,*.shop.test", "HAPROXY_0_GROUP": "external", "HAPROXY_1_VHOST": "admin.test", "HAPROXY_1_GROUP": "internal",
		"HAPROXY_1_AUTH": "r:joe:" + passwordHash, "RELAY_IDLE_AFTER": "1s", "OWNER": "shop",
	}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	text, _ := json.Marshal(map[string]any{
		"id": "/sleepy", "instances": 2, "labels": all, "healthChecks": []any{map[string]any{"protocol": "HTTP", "path": "/"}},
		"portDefinitions": []any{map[string]any{"port": 0, "name": "web"}, map[string]any{"port": 0, "name": "admin"}},
	})
	return string(text)
}

const letsIn = "Basic am9lOnBhc3N3b3Jk"

// An app with several ports and domains on two fleets sleeps if nobody uses any of them, and a request to any
// wakes it: that of a client who is let in.
func TestPortsAndFleetsSleepTogether(t *testing.T) {
	w := newScalingWorld(t)
	inside := &clients{t: t, certs: w.certs, http: freeAddress(t), https: freeAddress(t)}
	w.relay.config.Fleets = append(w.relay.config.Fleets, relay.Fleet{Fleet: routing.Fleet{
		Name: "internal", HTTP: netip.MustParseAddrPort(inside.http), HTTPS: netip.MustParseAddrPort(inside.https), Options: routing.DefaultOptions(),
	}})
	w.relay.fleet = &w.relay.config.Fleets[0]
	w.marathon.SetBoot("/sleepy", 50*time.Millisecond)
	w.marathon.deploy(twoPorts())
	w.start()
	for _, fleet := range []string{"external", "internal"} {
		w.relay.running.Loads().Pace(fleet, time.Second)
	}
	w.more([]string{"inside"}, envoytest.Options{Fleet: "internal", XDS: []string{w.relay.config.XDS.Address}})

	// It is used at one port of one fleet.
	conn, _, err := websocket.Dial(t.Context(), "ws://admin.test/ws", &websocket.DialOptions{
		HTTPClient: inside.client(false), HTTPHeader: http.Header{"Authorization": {letsIn}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.awakeFor("/sleepy", 5*time.Second, "requests or connections are in progress")
	_ = conn.Close(websocket.StatusNormalClosure, "")

	for i, wake := range []struct {
		by   *clients
		url  string
		auth string
	}{
		{w.clients, "http://shop.test/", ""},
		{w.clients, "http://any.Shop.test/", ""},
		{inside, "http://admin.test/", letsIn},
	} {
		w.phase("/sleepy", api.PhaseAsleep)
		w.has("/sleepy", 0, "2")
		writes := w.writes("/sleepy")
		// Nobody who is not let in wakes it, at no port.
		for _, auth := range []string{"", "Basic am9lOndyb25n"} {
			if a := inside.do("http://admin.test/", "Authorization", auth); a.status != http.StatusUnauthorized {
				t.Fatalf("with %q: status %d", auth, a.status)
			}
		}
		if a := w.clients.do("http://admin.test/", "Authorization", letsIn); a.status != http.StatusNotFound {
			t.Errorf("the other fleet answers for it: status %d", a.status)
		}
		if s := w.scaling("/sleepy"); s.Phase != api.PhaseAsleep || w.writes("/sleepy") != writes {
			t.Fatalf("who is not let in has woken it: %+v", s)
		}
		if a := wake.by.do(wake.url, "Authorization", wake.auth); a.status != http.StatusOK {
			t.Errorf("wake %d, %s: status %d, %.200q", i, wake.url, a.status, a.body)
		}
		// All its ports are there again.
		w.clients.expect("http://shop.test/", http.StatusOK, "/sleepy")
		if a := inside.do("http://admin.test/", "Authorization", letsIn); a.status != http.StatusOK {
			t.Errorf("wake %d: the port with a password: status %d", i, a.status)
		}
		if a := inside.do("http://admin.test/"); a.status != http.StatusUnauthorized {
			t.Errorf("wake %d: without a password: status %d", i, a.status)
		}
	}
	w.envoy.nothingRejected()
}

// The apps of a deployment group sleep as one: the one that has instances. While two have, a release is under way
// and none sleeps. Who wakes it wakes the newest.
func TestDeploymentGroupSleeps(t *testing.T) {
	w := newScalingWorld(t)
	colour := func(name string, instances int, startedAt string) string {
		return w.dozed("/web-"+name, "web.test", instances, "HAPROXY_DEPLOYMENT_GROUP", "web", "HAPROXY_DEPLOYMENT_ALT_PORT", "10001",
			"HAPROXY_DEPLOYMENT_COLOUR", name, "HAPROXY_DEPLOYMENT_STARTED_AT", startedAt, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "2")
	}
	const early, late = "2026-05-01T12:00:00.000001", "2026-05-01T13:00:00.000001"
	w.marathon.deploy(colour("blue", 2, early))
	w.startOften()
	w.phase("/web-blue", api.PhaseAsleep)
	w.has("/web-blue", 0, "2")
	w.clients.expect("http://web.test/", http.StatusOK, "/web-blue")
	w.has("/web-blue", 2, "")

	w.marathon.deploy(colour("green", 1, late))
	w.awakeFor("/web-green", 5*time.Second, "2 apps of its deployment group have instances")
	w.has("/web-blue", 2, "")
	w.has("/web-green", 1, "")

	w.marathon.deploy(colour("green", 2, late))
	if err := w.marathon.DeleteApp("/web-blue"); err != nil {
		t.Fatal(err)
	}
	w.marathon.idle()
	w.phase("/web-green", api.PhaseAsleep)
	w.has("/web-green", 0, "2")
	w.clients.expect("http://web.test/", http.StatusOK, "/web-green")

	// A release while it sleeps: the new app has instances, and the group is awake.
	w.phase("/web-green", api.PhaseAsleep)
	w.marathon.deploy(colour("blue", 1, "2026-05-01T14:00:00.000001"))
	// A request that comes before Relay and Envoy know of it wakes the one that sleeps.
	w.phase("/web-blue", api.PhaseAwake)
	w.admin.settled()
	w.clients.expect("http://web.test/", http.StatusOK, "/web-blue")
	if app := w.written("/web-green"); app.Instances != 0 {
		t.Errorf("the app that made room was woken: %+v", app)
	}
	w.envoy.nothingRejected()
}

// dozed is dozer with another number of instances.
func (w *world) dozed(id, domain string, instances int, labels ...string) string {
	return strings.Replace(w.dozer(id, domain, labels...), `"instances":2`, fmt.Sprintf(`"instances":%d`, instances), 1)
}
