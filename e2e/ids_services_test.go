package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The apps of a deployment group share slots: what one instance of the old app had, one of the new app has, all of it.
func TestIDsOfADeploymentGroup(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	w.start()
	colour := func(name string, instances int, startedAt string) string {
		return app("/agents-"+name, "agents.test", instances, "HAPROXY_DEPLOYMENT_GROUP", "agents", "HAPROXY_DEPLOYMENT_ALT_PORT", "10001", "RELAY_0_HASH_POLICY", "path_segment 2",
			"HAPROXY_DEPLOYMENT_COLOUR", name, "HAPROXY_DEPLOYMENT_STARTED_AT", startedAt, "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "3")
	}
	serves := func(green int) {
		t.Helper()
		w.eventually(fmt.Sprintf("%d of 3 are green", green), func() error {
			seen := make(map[string]bool)
			for id := range 60 {
				a := w.clients.do(agentURL(id))
				seen[a.header.Get("X-App")+" "+a.task()] = true
			}
			n := 0
			for task := range seen {
				if strings.HasPrefix(task, "/agents-green ") {
					n++
				}
			}
			if n != green || len(seen) != 3 {
				return fmt.Errorf("%v", seen)
			}
			return nil
		})
		w.admin.settled()
	}
	w.marathon.deploy(colour("blue", 3, "2026-05-01T12:00:00.000001"))
	w.clients.expect("http://agents.test/", http.StatusOK, "/agents-blue")
	serves(0)
	const n = 600
	before := w.clients.owners(n, agentURL)
	w.marathon.deploy(colour("green", 1, "2026-05-01T13:00:00.000001"))
	serves(1)
	half := w.clients.owners(n, agentURL)
	sameParts(t, before, half)
	if all, _ := moved(before, half); all > 50 {
		t.Errorf("%.1f %% of ids moved to one of three instances", all)
	}
	w.marathon.deploy(`{"id":"/agents-green","instances":3}`)
	serves(3)
	sameParts(t, half, w.clients.owners(n, agentURL))
	w.anew()
	serves(3)
	now := w.clients.owners(n, agentURL)
	sameParts(t, before, now)
	if err := w.marathon.DeleteApp("/agents-blue"); err != nil {
		t.Fatal(err)
	}
	w.marathon.idle()
	w.admin.settled()
	if again := w.clients.owners(n, agentURL); !slices.Equal(again, now) {
		t.Error("ids moved when the old app was removed")
	}
}

// sameParts holds that ids which were together still are.
func sameParts(t *testing.T, before, after []string) {
	t.Helper()
	successors := make(map[string]string)
	for i, task := range after {
		if was := successors[before[i]]; was != "" && was != task {
			t.Fatalf("ids of %s went to %s and to %s", before[i], was, task)
		}
		successors[before[i]] = task
	}
}

// A TCP service may have the instance picked by the address of the client. A server that is replaced takes over its clients.
func TestTCPServiceByAddress(t *testing.T) {
	w := newWorld(t)
	w.relay.keepState(false)
	w.start()
	port, address := w.tcp.port()
	servers := make([]string, 5)
	for i := range servers {
		servers[i] = w.tcp.lines(fmt.Sprint(i), nil)
	}
	deploy := func() {
		w.marathon.service("/db", servers, modeLabel, "tcp", portLabel, port, "RELAY_0_HASH_POLICY", "source_ip")
	}
	greeting := func(client int) (string, error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(client+1))}}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		line, err := bufio.NewReader(conn).ReadString('\n')
		return strings.TrimSpace(line), err
	}
	const clients = 100
	met := func() []string {
		t.Helper()
		all := make([]string, clients)
		for i := range all {
			var err error
			if all[i], err = greeting(i); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	deploy()
	w.eventually("the service answers", func() error { _, err := greeting(0); return err })
	w.admin.settled()
	before := met()
	if seen := slices.Compact(slices.Sorted(slices.Values(before))); len(seen) != len(servers) {
		t.Fatalf("clients met %v", seen)
	}
	w.anew()
	w.admin.settled()
	if again := met(); !slices.Equal(again, before) {
		t.Error("clients met other servers when Relay was started anew")
	}
	servers[2] = w.tcp.lines("new", nil)
	deploy()
	w.eventually("the new server has clients", func() error {
		if !slices.Contains(met(), "this is new") {
			return fmt.Errorf("none")
		}
		return nil
	})
	w.admin.settled()
	for i, now := range met() {
		if want := strings.ReplaceAll(before[i], "this is 2", "this is new"); now != want {
			t.Errorf("client %d met %q, and meets %q", i, before[i], now)
		}
	}
}
