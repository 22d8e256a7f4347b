package xds

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"relay/internal/logtest"
	"relay/xds/envoytest"
)

// What Relay says it is tested with is what the tests run with.
func TestTestedEnvoys(t *testing.T) {
	t.Parallel()
	versions := envoytest.AllVersions()
	if newest, oldest := fmt.Sprint("1.", NewestEnvoy), fmt.Sprint("1.", OldestEnvoy); versions[0] != newest || versions[len(versions)-1] != oldest {
		t.Errorf("Relay says it is tested with %s to %s, the tests run %q", oldest, newest, versions)
	}
	if newestSince != NewestEnvoy || oldestSince != OldestEnvoy+1 {
		t.Error("Since may be asked for other versions than are tested")
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]Age{
		"": OlderEnvoy, "0.40.0": OlderEnvoy, "1.34.1": OlderEnvoy, "1.35.9": OlderEnvoy, "1.36.0": TestedEnvoy, "1.38.3": TestedEnvoy, "1.40.9": TestedEnvoy,
		"1.41.0": NewerEnvoy, "2.0.0": NewerEnvoy,
	} {
		if got := (StreamStatus{Version: version}).Age(); got != want {
			t.Errorf("Age of %q is %d, want %d", version, got, want)
		}
	}
}

// A version that Relay is not tested with is logged once for each fleet, and its Envoys are
// served. Made-up versions do not fill the log.
func TestOtherVersionsAreLoggedOnce(t *testing.T) {
	log := new(logtest.Buffer)
	f := startServer(t, slog.NewTextHandler(log, nil), func(*Server) {})
	f.store.Open()
	f.set(Cluster, "1", "/a_0")
	connect := func(minor, patch uint32) {
		c := f.connect()
		c.Version(1, minor, patch)
		c.Subscribe(clusters)
		c.Ack(c.Expect(clusters, []string{"/a_0"}))
		c.Close()
	}
	for range 2 {
		connect(34, 1)
		connect(40, 0)
		connect(99, 0)
	}
	if log := log.String(); strings.Count(log, "is older than 1.36") != 1 || strings.Count(log, "newer than those") != 1 {
		t.Errorf("the log is %s", log)
	}
	for i := range uint32(maxToldVersions + 20) {
		connect(20, i)
	}
	if n := strings.Count(log.String(), "is older than 1.36"); n != maxToldVersions-1 {
		t.Errorf("%d versions are logged, want %d", n, maxToldVersions-1)
	}
}
