package e2e

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"relay/deploy"
	"relay/xds/envoytest"
	"relay/xds/xdstest"
)

// runningEnvoy is an Envoy of the first fleet.
type runningEnvoy struct {
	*envoytest.Envoy
	t     *testing.T
	relay *runningRelay
	admin *adminClient
	// version is the Envoy's; the newest when empty.
	version string
	limits  deploy.Limits
	statsD  deploy.StatsD
	// accessLog is the collector of access logs.
	accessLog string
}

// listeners says how often Envoy took listeners in, and which.
func (e *runningEnvoy) listeners() string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dump, err := e.Get(ctx, "/config_dump?resource=dynamic_listeners&mask=active_state.version_info,active_state.last_updated")
	if err != nil || !strings.Contains(dump, "version_info") {
		e.t.Fatalf("Envoy's listeners: %v; %s", err, dump)
	}
	return fmt.Sprintf("%d updates, %s", e.stat(`^listener_manager\.lds\.update_success$`), strings.Join(strings.Fields(dump), " "))
}

// nothingRejected fails the test if Envoy did not take an update.
func (e *runningEnvoy) nothingRejected() {
	e.t.Helper()
	e.admin.settled()
	if n := e.stat(`^cluster_manager\.cds\.update_rejected$`) + e.stat(`^listener_manager\.lds\.update_rejected$`); n != 0 {
		e.t.Errorf("Envoy rejected %d updates", n)
	}
}

// dynamic counts the resources that Envoy has by xDS, such as
// "dynamic_active_clusters".
func (e *runningEnvoy) dynamic(resource string) int {
	e.t.Helper()
	dump, err := e.Get(e.t.Context(), "/config_dump?resource="+resource+"&mask=version_info")
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.Count(dump, "type.googleapis.com/envoy.admin.v3.")
}

// rejections counts the updates that Envoy rejected.
func (e *runningEnvoy) rejections() int64 {
	e.t.Helper()
	return e.stat(`^cluster_manager\.cds\.update_rejected$`) + e.stat(`^listener_manager\.lds\.update_rejected$`) + e.stat(`scoped_rds\..*\.update_rejected$`)
}

// accepted fails the test if Envoy rejected an update, or got a listener that
// an app has changed.
func (e *runningEnvoy) accepted() {
	e.t.Helper()
	e.admin.settled()
	if n := e.rejections(); n != 0 {
		e.t.Errorf("Envoy rejected %d updates", n)
	}
	if n := e.stat(`^listener_manager\.listener_modified$`) + e.stat(`^listener_manager\.listener_in_place_updated$`); n != 0 {
		e.t.Errorf("apps changed listeners %d times", n)
	}
}

func (e *runningEnvoy) start() {
	e.t.Helper()
	e.Envoy = envoytest.Start(e.t, envoytest.Options{
		Version: e.version, XDS: []string{e.relay.config.XDS.Address}, ClustersOnDemand: e.relay.fleet.ClustersOnDemand,
		Limits: e.limits, StatsD: e.statsD, AccessLog: e.accessLog,
	})
}

func (e *runningEnvoy) ready() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.WaitReady(ctx); err != nil {
		e.t.Fatal(err)
	}
}

// stat returns the sum of Envoy's stats that match.
func (e *runningEnvoy) stat(pattern string) int64 {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stats, err := e.Stats(ctx, regexp.MustCompile(pattern))
	if err != nil {
		e.t.Fatal(err)
	}
	if len(stats) == 0 {
		e.t.Fatalf("Envoy has no stat %s", pattern)
	}
	var sum int64
	for _, n := range stats {
		sum += n
	}
	return sum
}

// draining is how many filter chains and listeners Envoy is about to close.
func (e *runningEnvoy) draining() int64 {
	e.t.Helper()
	return e.stat(`^listener_manager\.total_(filter_chains|listeners)_draining$`)
}

// startVia starts Relay, and an Envoy that reaches it by a proxy.
func (e *runningEnvoy) startVia() *xdstest.Proxy {
	e.t.Helper()
	e.relay.start()
	proxy := xdstest.StartProxy(e.t, e.relay.config.XDS.Address)
	e.Envoy = envoytest.Start(e.t, envoytest.Options{
		Version: e.version, XDS: []string{proxy.Address}, ClustersOnDemand: e.relay.fleet.ClustersOnDemand,
	})
	return proxy
}

// warming waits until so many clusters of Envoy are.
func (e *runningEnvoy) warming(n int64) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("%d clusters warming", n), func() error {
		if e.stat(`^cluster_manager\.warming_clusters$`) != n {
			return errors.New("not yet")
		}
		return nil
	})
}
