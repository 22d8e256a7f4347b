package marathon

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"relay/sources/marathon/marathontest"
)

// TestReadsGoToTheLeader has a standby that passes everything on, as it was until
// 1.6, with the leader under another host name.
func TestReadsGoToTheLeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		trusted string
		direct  bool
	}{
		{"trusted", "LOCALHOST", true},
		{"not trusted", "other.test", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			opts := marathontest.Options{Credentials: "relay:hunter2", Version: "1.6.322"}
			leader, standby := marathontest.Start(t, opts), marathontest.Start(t, opts)
			standby.SetStandby(strings.Replace(leader.URL(), "127.0.0.1", "localhost", 1))
			load(t, leader, "/a")
			cfg := fastConfig(withUser(t, standby.URL(), "relay", "hunter2"))
			cfg.TrustedHosts = []string{tt.trusted}
			w, sink, logged := watch(t, cfg)
			sink.await(t, "synced", contains("/a "))
			load(t, leader, "/b")
			status(leader, "/b")
			sink.await(t, "an event through the standby", contains("/b "))
			if n := standby.Requests(marathontest.KindList) + standby.Requests(marathontest.KindApp); (n == 0) != tt.direct {
				t.Errorf("%d reads through the standby", n)
			}
			if n := standby.Requests(marathontest.KindEvents); n != 1 {
				t.Errorf("%d streams through the standby", n)
			}
			shows(t, w, logged, "hunter2")
		})
	}
}

// TestLeaderThatDoesNotAnswer has a leader whose advertised name leads nowhere.
func TestLeaderThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	leader := marathontest.Start(t, marathontest.Options{})
	load(t, leader, "/a")
	remove := leader.Inject(marathontest.KindOther, marathontest.Fault{Body: `{"leader":"127.0.0.1:1"}`})
	defer remove()
	cfg := fastConfig(leader.URL())
	cfg.TrustedHosts = []string{"127.0.0.1"}
	w, sink, logged := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	if s := logged.String(); !strings.Contains(s, "the leader does not answer") {
		t.Errorf("nothing was logged:\n%s", s)
	}
	if e := w.currentState().lastError; e != "" {
		t.Errorf("the connection ended: %s", e)
	}
}

func TestLeader(t *testing.T) {
	t.Parallel()
	servers, err := parseServers([]string{"https://a:1@m1.test:8443", "http://m2.test:8080/marathon", "https://m3.test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client{servers: servers, trusted: []string{"leader.test"}}
	tests := []struct {
		origin int
		named  string
		want   string
	}{
		{0, "https://m1.test:8443", "https://m1.test:8443"},
		{0, "https://m3.test:443", "https://m3.test"},
		{0, "http://m2.test:8080", "http://m2.test:8080/marathon"}, // configured as it is
		{0, "https://leader.test:8443", "https://leader.test:8443"},
		{0, "http://leader.test:8080", "https://m1.test:8443"}, // less safe
		{1, "http://leader.test:8080", "http://leader.test:8080"},
		{1, "http://stranger.test:8080", "http://m2.test:8080/marathon"},
		{1, "leader.test:8080", "http://m2.test:8080/marathon"},
		{1, "ftp://leader.test", "http://m2.test:8080/marathon"},
		{1, "http://%zz", "http://m2.test:8080/marathon"},
	}
	for _, tt := range tests {
		s := servers[tt.origin]
		if got := c.leader(t.Context(), target{base: s.url, origin: s}, tt.named); got.base.String() != tt.want {
			t.Errorf("from %s, named %s: %s, want %s", s.url, tt.named, got.base, tt.want)
		}
	}
}

func FuzzLeader(f *testing.F) {
	f.Add("http://leader.test:8080")
	f.Add("https://[::1]:8443/x?y#z")
	f.Fuzz(func(t *testing.T, named string) {
		if named == "" {
			return
		}
		base := &url.URL{Scheme: "https", Host: "m1.test"}
		s := server{url: base}
		c := client{servers: []server{s}, trusted: []string{"leader.test"}}
		got := c.leader(t.Context(), target{base: base, origin: s}, named)
		if h := got.base.Hostname(); !strings.EqualFold(h, "m1.test") && !strings.EqualFold(h, "leader.test") || got.base.Scheme != "https" {
			t.Errorf("%q leads to %s", named, got.base)
		}
	})
}

// TestLeaderWithOddVersions has a leader that answers something odd for an older version, which
// is no reason to read the rest by way of a standby.
func TestLeaderWithOddVersions(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"another app": fmt.Sprintf(`{"id":"/b","version":%q}`, oldVersion),
		"cut short":   `{"id":"/a`,
		"too long":    `{"id":"/a","x":"` + strings.Repeat("x", maxDefinition) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := marathontest.Options{Version: "1.6.322"} // its standbys pass the events on
			leader, standby := marathontest.Start(t, opts), marathontest.Start(t, opts)
			standby.SetStandby(strings.Replace(leader.URL(), "127.0.0.1", "localhost", 1))
			if err := leader.LoadApps(checkAdded("/a")); err != nil {
				t.Fatal(err)
			}
			leader.Inject(marathontest.KindVersion, marathontest.Fault{Body: body})
			cfg := fastConfig(standby.URL())
			cfg.TrustedHosts = []string{"localhost"}
			_, sink, logged := watch(t, cfg)
			sink.await(t, "synced", contains(oldServe))
			poll(t, "told", func() bool { return strings.Contains(logged.String(), "an older version of an app could not be read") })
			load(t, leader, "/new")
			status(leader, "/new")
			sink.await(t, "changes go on", contains("/new "))
			if s := logged.String(); strings.Contains(s, "the leader does not answer") {
				t.Errorf("the leader is left:\n%s", s)
			}
			if told := strings.Contains(logged.String(), "the answer has"); told != (name == "too long") {
				t.Errorf("told of the length: %t", told)
			}
		})
	}
}
