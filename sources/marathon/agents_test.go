package marathon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources/marathon/marathontest"
)

// TestAgentNames has what names of agents may resolve to where Relay runs.
func TestAgentNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ host, found, want, told string }{
		{"agent1", "10.0.0.1", "10.0.0.1", ""},
		{"agent1", "127.0.1.1", "127.0.1.1", "resolves to 127.0.1.1 where Relay runs"},
		{"agent1", "::1", "::1", "resolves to ::1 where Relay runs"},
		{"agent1", "::ffff:127.0.0.1", "127.0.0.1", "resolves to 127.0.0.1 where Relay runs"},
		{"agent1", "127.0.1.1 10.0.0.1", "10.0.0.1", ""},
		{"agent1", "127.0.1.1 fd00::1", "fd00::1", ""},
		{"localhost", "127.0.0.1 ::1", "127.0.0.1 ::1", ""},
		{"LOCALHOST.", "127.0.0.1", "127.0.0.1", ""},
		{"a.localhost", "127.0.0.1", "127.0.0.1", ""},
		{"localhost.test", "127.0.0.1", "127.0.0.1", "where Relay runs"},
		{"agent1", "169.254.1.1 127.0.0.1", "169.254.1.1", "resolves to 169.254.1.1 where Relay runs"},
		{"agent1", "169.254.1.1 10.0.0.1", "10.0.0.1", ""},
		{"agent1", "0.0.0.0", "", "resolves to 0.0.0.0, where nothing can be reached"},
		{"agent1", "::", "", "resolves to ::, where nothing can be reached"},
		{"agent1", "224.0.0.1", "", "resolves to 224.0.0.1, where"},
		{"agent1", "fe80::1%eth0", "", "resolves to fe80::1%eth0, where"},
		{"agent1", "fe80::1%eth0 0.0.0.0 10.0.0.2 10.0.0.1", "10.0.0.1 10.0.0.2", ""},
	} {
		var found []netip.Addr
		for a := range strings.FieldsSeq(tt.found) {
			found = append(found, netip.MustParseAddr(a))
		}
		usable, told := usableAddresses(tt.host, found, nil)
		if got := strings.Trim(fmt.Sprint(usable), "[]"); got != tt.want || (told == "") != (tt.told == "") || !strings.Contains(told, tt.told) {
			t.Errorf("%s is %s: %s, told %q, want %s, %q", tt.host, tt.found, got, told, tt.want, tt.told)
		}
	}
	if _, told := usableAddresses("agent1", nil, &net.DNSError{Err: "no such host", Name: "agent1", Server: "10.9.9.9:53"}); told != "is not resolved: no such host" {
		t.Errorf("told %q", told)
	}
}

// TestAgentAddresses has addresses in place of names. Loopback is what they mean then.
func TestAgentAddresses(t *testing.T) {
	t.Parallel()
	a := addressing{resolve: func(host string) (netip.Addr, string) {
		t.Errorf("%s is looked up", host)
		return netip.Addr{}, ""
	}}
	for host, want := range map[string]string{"127.0.0.1": "", "127.0.1.1": "", "::1": "", "0.0.0.0": "nothing can be reached", "::": "nothing", "fe80::1%eth0": "nothing", "ff02::1": "nothing", "224.0.0.1": "nothing"} {
		ip, note, missing := a.agentOf(modeBridge, &taskJSON{Host: host})
		if ip.IsValid() != (want == "") || note != "" || !strings.Contains(missing, want) {
			t.Errorf("%s: %v, %q, %q", host, ip, note, missing)
		}
	}
}

// TestAgentsThatAreTold has a name on loopback, one without an address and good ones, on
// which several apps run: each agent is told once, by itself and of its tasks.
func TestAgentsThatAreTold(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	host := []string{"agent1", "agent2", "gone", "localhost"}
	for i := range 8 {
		app := marathontest.App{Definition: definition(fmt.Sprintf("/a%d", i), fmt.Sprintf("a%d.test", i)), Tasks: []marathontest.Task{{ID: fmt.Sprintf("t%d", i), Host: host[i%4], Ports: []int{31000}}}}
		if err := m.LoadApps(app); err != nil {
			t.Fatal(err)
		}
	}
	cfg := fastConfig(m.URL())
	cfg.LookupHost = func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "agent1":
			return []netip.Addr{netip.MustParseAddr("127.0.1.1")}, nil
		case "agent2":
			return []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("127.0.1.1")}, nil
		case "localhost":
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, errors.New("no such host")
	}
	w, sink, logged := watch(t, cfg)
	sink.await(t, "resolved", func(s string) bool {
		return strings.Count(s, "@127.0.1.1:31000") == 2 && strings.Count(s, "@10.0.0.2:31000") == 2 && strings.Count(s, "@127.0.0.1:31000") == 2
	})
	problems := func() string {
		var list []string
		for _, p := range w.Status().Problems {
			list = append(list, p.Subject+" "+p.Reason)
		}
		return strings.Join(list, "\n")
	}
	poll(t, "told", func() bool { return strings.Count(problems(), "\n") == 1 })
	if s := problems(); !strings.HasPrefix(s, "agent agent1 resolves to 127.0.1.1") || !strings.Contains(s, "agent gone is not resolved: no such host") {
		t.Errorf("told\n%s", s)
	}
	reload(t, w)
	if s := sink.notesOf("/a4"); !strings.HasPrefix(s, "runs on agent1, whose name resolves to 127.0.1.1") || sink.notesOf("/a1")+sink.notesOf("/a3") != "" {
		t.Errorf("the notes are %q", s)
	}
	if x := sink.app("/a2").Ports[0].Excluded; len(x) != 1 || x[0].Reason != "runs on gone, whose name is not resolved: no such host" {
		t.Errorf("left out: %v", x)
	}
	if n := strings.Count(logged.String(), "agent=agent1"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestManyAgentsAreToldBounded(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	w, err := New(fastConfig(m.URL()), newRecorder(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		w.resolver.hosts[fmt.Sprintf("agent%02d", i)] = &resolvedHost{note: "x", used: time.Now()}
	}
	list := w.Status().Problems
	if len(list) != maxAgentProblems+1 || list[0].Subject != "agent agent00" || list[maxAgentProblems].Reason != "80 more have such problems" {
		t.Errorf("%d problems, the last is %v", len(list), list[len(list)-1])
	}
}

// TestAgentStopsResolving keeps the address, and says so when it lasts.
func TestAgentStopsResolving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newResolver(nil, false, nil, nil)
		good := netip.MustParseAddr("10.0.0.1")
		r.hosts["h"] = &resolvedHost{addr: good, apps: map[string]bool{"/a": true}}
		told := func(found []netip.Addr, err error) string {
			r.hosts["h"].used = time.Now()
			_, note, _ := r.update("h", found, err, false)
			return note
		}
		for range 4 {
			if s := told(nil, errors.New("timeout")); s != "" {
				t.Fatalf("told %q at once", s)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Minute)
		if s := told(nil, errNoAddress); s != "is not resolved: it has no address; its last address, 10.0.0.1, stays in use" {
			t.Errorf("told %q", s)
		}
		if s := told(nil, errors.New("timeout")); s != "" || len(r.notes()) != 1 {
			t.Errorf("told again: %q; notes %v", s, r.notes())
		}
		if told([]netip.Addr{good}, nil); len(r.notes()) != 0 {
			t.Errorf("notes %v", r.notes())
		}
	})
}
