package traffic

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// A WebSocket and a TCP connection that are open and silent, and a download that takes long, are in
// use in each report, and are not when they have ended. So they are not with Envoys before SilentBefore: these
// tell nothing of a cluster to which nothing new came.
func TestUseOfARealEnvoy(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		var minor int
		_, _ = fmt.Sscanf(version, "1.%d", &minor)
		w := startLoadWorld(t, version)
		w.reporting()
		ws, tcp, download := w.open(w.http, upgrade("app", "/ws")), w.open(w.tcp, ""), w.open(w.http, request("busy", "/download"))
		if minor < SilentBefore {
			w.eventually("a WebSocket is in use", func() bool { return w.loads.Use("external", "app").Last.After(time.Time{}) })
			w.moreReports(2)
			w.eventually("Envoy "+version+" tells nothing of silent connections", func() bool { return w.loads.Use("external", "app").InProgress == 0 })
			return
		}
		for _, cluster := range []string{"app", "tcp", "busy"} {
			w.eventually(cluster+" is in use", func() bool { return w.loads.Use("external", cluster).InProgress == 1 })
		}
		opened := time.Now()
		w.moreReports(3)
		for _, cluster := range []string{"app", "tcp", "busy"} {
			// Relay may be a little behind what Envoy says that it has sent.
			w.eventually(cluster+" is in use in reports since then", func() bool { return w.loads.Use("external", cluster).Last.After(opened) })
			if u := w.loads.Use("external", cluster); u.InProgress != 1 || u.Since.After(u.Last) {
				t.Errorf("%s: %+v", cluster, u)
			}
		}
		_, _, _ = ws.Close(), tcp.Close(), download.Close()
		closed := time.Now()
		for _, cluster := range []string{"app", "tcp", "busy"} {
			w.eventually(cluster+" is idle", func() bool {
				u := w.loads.Use("external", cluster)
				return u.InProgress == 0 && u.Until.After(closed) && u.Idle().Before(u.Until)
			})
		}
	})
}

func request(cluster, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a.test\r\nX-Cluster: " + cluster + "\r\n\r\n"
}

// What happens while an Envoy is cut off from Relay is in its first report afterwards: since when it is
// known how its clusters were used stays. Once another one has begun, it does not.
func TestUseAcrossAGap(t *testing.T) {
	t.Parallel()
	w := startLoadWorld(t, envoytest.Newest)
	w.reporting()
	var cut time.Time
	for range 5 {
		w.eventually("reports are known", func() bool { return !w.loads.Use("external", "app").Until.IsZero() })
		before := w.loads.Use("external", "app")
		lost := w.cut()
		cut = time.Now()
		w.get("app", "/200")
		w.eventually("it has lost its stream", func() bool { return w.loads.Use("external", "app").Until.Before(cut) })
		w.serve()
		w.eventually("it is back", func() bool { return w.loads.Use("external", "app").Last.After(cut) })
		w.eventually("all is known again", func() bool { return w.loads.Use("external", "app").Until.After(cut) })
		after := w.loads.Use("external", "app")
		if after.Since.Equal(before.Since) {
			break
		}
		if !lost() {
			t.Errorf("what was known is not any more: known since %v, was %v", after.Since, before.Since)
			break
		}
		t.Log("a report was lost")
	}
	if silent := w.loads.Silent("external", []string{"edge-1", "edge-2"}); len(silent) != 1 || silent[0] != "edge-2" {
		t.Errorf("silent: %q", silent)
	}
	w.restart()
	w.eventually("another one has begun", func() bool { return w.loads.Use("external", "app").Since.After(cut) })
}

// Nothing is lost or counted twice when an Envoy is told to report more often, and less often again.
func TestPaceOfARealEnvoy(t *testing.T) {
	t.Parallel()
	w := startLoadWorldEvery(t, envoytest.Newest, 4*time.Second)
	w.reporting()
	var sent uint32
	for i := range 6 {
		w.loads.Pace("external", time.Duration((i+1)%2)*time.Second)
		for range 20 {
			if w.get("app", "/200") == http.StatusOK {
				sent++
			}
		}
		if i%2 == 0 {
			w.moreReports(2)
		}
	}
	w.expect("app", sent, 0, 0)
}
