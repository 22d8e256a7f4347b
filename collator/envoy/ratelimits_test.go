package envoy_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/xds/envoytest"
)

// program runs a program until the test ends, or it is stopped.
func program(t *testing.T, environment []string, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), environment...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make tools installs what the tests need", err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

// rateLimitService runs the service of Envoy's project, with a Redis of its own, and the configuration that docs/rate-limits.md
// shows.
func rateLimitService(t *testing.T) (address string, stop func()) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "config"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config", "relay.yaml"), []byte("domain: relay\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := func() string { return fmt.Sprint(envoytest.FreePort(t)) }
	redis, grpc := port(), port()
	program(t, nil, "redis-server", "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	tool, err := filepath.Abs("../../.tools/ratelimit")
	if err != nil {
		t.Fatal(err)
	}
	answers := func(port string) bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	await := func(port string) {
		for deadline := time.Now().Add(patience); !answers(port); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing serves on port %s", port)
			}
		}
	}
	await(redis)
	stop = program(t, []string{
		"HOST=127.0.0.1", "PORT=" + port(), "DEBUG_HOST=127.0.0.1", "DEBUG_PORT=" + port(), "GRPC_HOST=127.0.0.1", "GRPC_PORT=" + grpc,
		"REDIS_SOCKET_TYPE=tcp", "REDIS_URL=127.0.0.1:" + redis, "RUNTIME_ROOT=" + dir, "RUNTIME_SUBDIRECTORY=", "RUNTIME_WATCH_ROOT=false", "USE_STATSD=false", "LOG_LEVEL=error",
	}, tool)
	await(grpc)
	return "127.0.0.1:" + grpc, stop
}

// TestRateLimitService has two Envoys count together by the real service, over all domains and paths of an app. While it
// is away, each goes on by itself.
func TestRateLimitService(t *testing.T) {
	t.Parallel()
	address, stop := rateLimitService(t)
	counted := func(f *routing.Fleet, _ *certstest.CA) { f.RateLimitService = address }
	limited := map[string][]string{"b.test": {"RATE_LIMIT=2/d burst 9"}}
	const tries = 20
	for i := range tries {
		limited[fmt.Sprintf("a%d.test", i)] = []string{"RATE_LIMIT=5/d burst 9"}
	}
	one, two := startEnvoy(t, counted), startEnvoy(t, counted)
	for _, e := range []*realEnvoy{one, two} {
		e.limitedApps(t, limited)
	}
	// The service may be asked only once the cluster is there.
	asked := func(e *realEnvoy) bool {
		stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile(`^cluster\.rate-limits\.membership_healthy$`))
		return err == nil && stats["cluster.rate-limits.membership_healthy"] == 1
	}
	one.until(t, "the service is known", func() bool { return asked(one) && asked(two) })
	// A request that has no answer of the service within 100 ms goes on uncounted. On a machine with much to do some have none, but
	// not of each app.
	for i := 0; !countTogether(t, one, two, fmt.Sprintf("a%d.test", i)); i++ {
		if i+1 == tries {
			t.Fatal("the service never answers")
		}
	}
	stop()
	if got := one.statuses(t, "b.test", "192.0.2.1", "192.0.2.1", "192.0.2.1"); got[0] != 200 || got[2] != 200 {
		t.Errorf("while the service is away: %v", got)
	}
	if got := one.statuses(t, "b.test", "1", "1", "1", "1", "1", "1", "1"); got[6] != http.StatusTooManyRequests {
		t.Errorf("while the service is away, beyond what one Envoy lets through: %v", got)
	}
	if n := one.uncounted(t, "b.test"); n != 9 {
		t.Errorf("Envoy counted %d", n)
	}
}

// uncounted is how many requests to a domain went on that the service did not count.
func (e *realEnvoy) uncounted(t *testing.T, domain string) int64 {
	t.Helper()
	stat := "cluster./" + domain + "_0.ratelimit.rate_limits.failure_mode_allowed"
	stats, err := e.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$"))
	if err != nil {
		t.Fatal(err)
	}
	return stats[stat]
}

// countTogether holds that two Envoys let as many requests to a domain through as its limit says. It returns false if the service
// did not answer in time.
func countTogether(t *testing.T, one, two *realEnvoy, domain string) bool {
	t.Helper()
	total, day := 0, time.Now().UTC().YearDay()
	for i := range 8 {
		e := []*realEnvoy{one, two}[i%2]
		if statuses := e.statuses(t, domain, "192.0.2.1"); statuses[0] == http.StatusOK {
			total++
		}
	}
	over, err := say(two.fleet.HTTP.String(), "GET / HTTP/1.1\r\nHost: "+domain+"\r\n\r\n")
	if one.uncounted(t, domain)+two.uncounted(t, domain) > 0 || time.Now().UTC().YearDay() != day {
		return false
	}
	if total != 5 {
		t.Errorf("two Envoys let %d of 8 requests through, want 5", total)
	}
	if err != nil || over.code != "too-many-requests" || over.header.Get("Retry-After") != "86400" {
		t.Errorf("over the limit of all Envoys: %+v, %v", over, err)
	}
	return true
}

// TestRateLimitServiceOfOlderEnvoys holds that Envoys that cannot ask the service take the scopes, and serve.
func TestRateLimitServiceOfOlderEnvoys(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[1:] {
		t.Run("Envoy "+version, func(t *testing.T) {
			e := startVersion(t, version, func(f *routing.Fleet, _ *certstest.CA) { f.RateLimitService = "127.0.0.1:1" })
			e.limitedApps(t, map[string][]string{"a.test": {"RATE_LIMIT=5/d"}, "b.test": {"RATE_LIMIT=5/d", "BACKEND_NETWORK_ALLOWED_ACL=127.0.0.1"}})
			if got := e.statuses(t, "a.test", "192.0.2.1"); got[0] != http.StatusOK {
				t.Errorf("without a restriction: %v", got)
			}
			if got := e.statuses(t, "b.test", "192.0.2.1"); got[0] != http.StatusForbidden {
				t.Errorf("with a restriction: %v", got)
			}
		})
	}
}
