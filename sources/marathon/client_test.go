package marathon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/panics"
	"relay/sources/marathon/marathontest"
)

func withUser(t *testing.T, raw, user, password string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func TestNextURLAfterFailure(t *testing.T) {
	t.Parallel()
	down, broken := marathontest.Start(t, marathontest.Options{}), marathontest.Start(t, marathontest.Options{})
	down.Down()
	load(t, broken, "/wrong")
	broken.Inject(marathontest.KindList, marathontest.Fault{Status: 503})
	good := marathontest.Start(t, marathontest.Options{})
	load(t, good, "/a")
	w, sink, _ := watch(t, fastConfig(down.URL(), broken.URL(), good.URL()))
	sink.await(t, "synced", contains("/a "))
	poll(t, "connected", func() bool { return w.currentState().connected })
	attempts := broken.Requests(marathontest.KindEvents)
	for range 3 {
		before := good.Requests(marathontest.KindEvents)
		good.CutStreams()
		// One that is cut before it has read all is no good one.
		poll(t, "connected anew", func() bool { return good.Requests(marathontest.KindEvents) > before && w.currentState().connected })
	}
	if s := w.Status(); s.Name != good.URL() {
		t.Errorf("URL %s, want the last good one, %s", s.Name, good.URL())
	}
	if n := broken.Requests(marathontest.KindEvents); n != attempts {
		t.Errorf("another URL was tried though the last one worked")
	}
}

func TestRedirectToLeader(t *testing.T) {
	t.Parallel()
	leader := marathontest.Start(t, marathontest.Options{Credentials: "relay:hunter2"})
	standby := marathontest.Start(t, marathontest.Options{Credentials: "relay:hunter2"})
	standby.SetStandby(leader.URL())
	load(t, leader, "/a")
	host := strings.TrimPrefix(leader.URL(), "http://")

	for name, configure := range map[string]func(*Config){
		"configured": func(c *Config) { c.URLs = append(c.URLs, leader.URL()) },
		"trusted":    func(c *Config) { c.TrustedHosts = []string{host} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fastConfig(withUser(t, standby.URL(), "relay", "hunter2"))
			configure(&cfg)
			w, sink, logged := watch(t, cfg)
			sink.await(t, "synced", contains("/a "))
			poll(t, "connected", func() bool { return w.currentState().connected })
			if s := w.Status(); s.Name != leader.URL() {
				t.Errorf("URL %s, want the leader's, %s", s.Name, leader.URL())
			}
			if s := fmt.Sprintf("%s %s %+v", logged, w.currentState().lastError, w.Status()); strings.Contains(s, "hunter2") {
				t.Errorf("the password is shown:\n%s", s)
			}
		})
	}
}

func TestCredentialsStayAmongOurHosts(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer stranger.Close()
	standby := marathontest.Start(t, marathontest.Options{Credentials: "relay:hunter2"})
	standby.SetStandby(stranger.URL)
	w, _, logged := watch(t, fastConfig(withUser(t, standby.URL(), "relay", "hunter2")))
	if auth := <-got; auth != "" {
		t.Errorf("a host that is not ours was sent %q", auth)
	}
	poll(t, "reported", func() bool { return strings.Contains(w.currentState().lastError, "answered 401") })
	if s := fmt.Sprintf("%s %s %+v", logged, w.currentState().lastError, w.Status()); strings.Contains(s, "hunter2") {
		t.Errorf("the password is shown:\n%s", s)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	servers, err := parseServers([]string{"https://a:1@m1.test:8443/marathon", "http://m2.test:8080", "http://b:2@m3.test", "https://m4.test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client{servers: servers, trusted: []string{"Leader.test", "other.test:8080"}}
	tests := []struct {
		origin int
		url    string
		want   string
	}{
		{0, "https://m1.test:8443/marathon/v2/events", "a:1"},
		{0, "https://m1.test:9999/", ""},
		{0, "https://m1.test.evil.test:8443/", ""},
		{0, "http://m2.test:8080/", ""}, // from https to http
		{2, "http://m2.test:8080/", "b:2"},
		{0, "http://m3.test:80/", "b:2"},
		{0, "https://m4.test:443/", "a:1"},
		{1, "https://m4.test/", ""},
		{0, "https://leader.test:1/", "a:1"},
		{0, "http://leader.test:1/", ""},
		{2, "http://leader.test:1/", "b:2"},
		{2, "http://other.test:8080/", "b:2"},
		{2, "http://other.test:8081/", ""},
	}
	for _, tt := range tests {
		u, _ := url.Parse(tt.url)
		got := ""
		if who, ok := c.credentials(u, servers[tt.origin]).(basicLogin); ok {
			got = who.user + ":" + string(who.password)
		}
		if got != tt.want {
			t.Errorf("from %s to %s: %q, want %q", servers[tt.origin].url, tt.url, got, tt.want)
		}
	}
}

func TestRedirectsAreLimited(t *testing.T) {
	t.Parallel()
	location := map[string]string{
		"/loop/v2/events":  "/loop/v2/events",
		"/login/v2/events": "/login.html",
		"/ftp/v2/events":   "ftp://x/v2/events",
		"/html/v2/events":  "",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l := location[r.URL.Path]; l != "" {
			w.Header().Set("Location", l)
			w.WriteHeader(http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html")
	}))
	defer s.Close()
	for path, want := range map[string]string{"loop": "do not agree", "login": "another path", "ftp": "not an http URL", "html": `"text/html" instead`} {
		w, err := New(fastConfig(s.URL+"/"+path+"/"), newRecorder(), slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", path, err, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{},
		{URLs: []string{"http://relay:hunter2@[::1"}},
		{URLs: []string{"relay:hunter2@marathon:8080"}},
		{URLs: []string{"http://relay:hunter2@"}},
		{URLs: []string{"http://relay:hunter2@m/?x=1"}},
		{URLs: []string{"http://m"}, ContainerAddress: "both"},
	} {
		_, err := New(cfg, newRecorder(), slog.New(slog.DiscardHandler), nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", cfg.ContainerAddress, err)
		}
	}
	r := prometheus.NewRegistry()
	for i, want := range []bool{true, false} { // metrics of the same name are a bug in Relay, as for all its parts
		err := panics.Catch(func() error {
			_, err := New(Config{URLs: []string{"http://m"}}, newRecorder(), slog.New(slog.DiscardHandler), r)
			return err
		})
		if (err == nil) != want {
			t.Errorf("registration %d: %v", i, err)
		}
	}
}

func TestAgentNamesAreResolvedInTheBackground(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	app := marathontest.App{Definition: definition("/a", "a.test"), Tasks: []marathontest.Task{{ID: "one", Host: "agent.test", Ports: []int{31000}}}}
	if err := m.LoadApps(app); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	var once sync.Once
	answer := make(chan struct{})
	cfg := fastConfig(m.URL())
	cfg.LookupHost = func(ctx context.Context, host string) ([]netip.Addr, error) {
		once.Do(func() { close(asked) })
		select {
		case <-answer:
			return []netip.Addr{netip.MustParseAddr("fd00::7"), netip.MustParseAddr("10.0.0.7")}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	_, sink, _ := watch(t, cfg)
	<-asked
	sink.await(t, "synced without the address", contains("/a [a.test] []"))
	close(answer)
	sink.await(t, "resolved", contains("one@10.0.0.7:31000"))
}

func TestResolverKeepsTheLastGoodAnswer(t *testing.T) {
	t.Parallel()
	r := newResolver(nil, false, nil, nil)
	r.hosts["h"] = &resolvedHost{apps: map[string]bool{"/a": true}, used: time.Now()}
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	self, link := netip.MustParseAddr("127.0.1.1"), netip.MustParseAddr("169.254.0.9")
	steps := []struct {
		found []netip.Addr
		err   error
		apps  int
		done  bool
		addr  netip.Addr
		told  string // a part of what is new to tell; "" for nothing
	}{
		{nil, io.ErrUnexpectedEOF, 0, false, netip.Addr{}, "unexpected EOF"},
		{nil, io.ErrClosedPipe, 0, false, netip.Addr{}, ""}, // once
		{[]netip.Addr{netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("fe80::1%eth0")}, nil, 1, false, netip.Addr{}, "resolves to 0.0.0.0"},
		{[]netip.Addr{self}, nil, 1, true, self, "resolves to 127.0.1.1"},
		{[]netip.Addr{self}, nil, 0, true, self, ""},
		{[]netip.Addr{self, link}, nil, 1, true, link, "resolves to 169.254.0.9"},
		{[]netip.Addr{self, link, two}, nil, 1, true, two, ""},
		{[]netip.Addr{one, two}, nil, 0, true, two, ""},
		{nil, io.ErrUnexpectedEOF, 0, true, two, ""},
		{nil, nil, 0, true, two, ""},
		{[]netip.Addr{one}, nil, 1, true, one, ""},
	}
	for i, s := range steps {
		r.hosts["h"].apps["/a"] = true
		apps, told, done := r.update("h", s.found, s.err, false)
		if len(apps) != s.apps || done != s.done || r.hosts["h"].addr != s.addr {
			t.Errorf("step %d: %q, done %v, %v", i, apps, done, r.hosts["h"].addr)
		}
		if (told != "") != (s.told != "") || !strings.Contains(told, s.told) {
			t.Errorf("step %d: told %q, want %q", i, told, s.told)
		}
	}
}
