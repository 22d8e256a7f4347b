package traffic

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// What a real Envoy counts as a request, and as an error.
func TestWhatEnvoyCounts(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		w := startLoadWorld(t, version)
		w.reporting()
		for _, tt := range []struct {
			cluster, path    string
			code             int
			requests, errors uint32 // in all
		}{
			{"app", "/200", 200, 1, 0},
			{"app", "/404", 404, 2, 0},
			{"app", "/500", 500, 3, 1},
			{"app", "/reset", 503, 4, 2}, // no answer
			{"app", "/hang", 504, 5, 3},
			{"app", "/direct", 503, 5, 3}, // Envoy's own answer
			{"empty", "/200", 503, 0, 0},  // no endpoint
			{"dead", "/200", 503, 2, 2},   // two tries
		} {
			if code := w.get(tt.cluster, tt.path); code != tt.code {
				t.Errorf("%s%s: status %d, want %d", tt.cluster, tt.path, code, tt.code)
			}
			if tt.cluster == "dead" && version == envoytest.Oldest {
				continue // see below
			}
			w.expect(tt.cluster, tt.requests, tt.errors, 0)
		}
		// Each try that fails is an error, though the next one is answered.
		for range 4 {
			w.get("half", "/200")
		}
		w.eventually("half", func() bool { c := w.counted("half"); return c.requests >= 4 && c.requests == 4+c.errors })

		if version == envoytest.Oldest {
			return // up to 1.38, Envoy tells nothing of a cluster that took no request since its last report
		}
		// The second is refused as one is in progress. Which ends as the client goes.
		first := w.open(w.http, upgrade("busy", "/ws"))
		w.expect("busy", 1, 0, 1)
		if code := w.get("busy", "/200"); code != http.StatusServiceUnavailable {
			t.Errorf("status %d", code)
		}
		w.expect("busy", 2, 1, 1)
		_ = first.Close()
		w.expect("busy", 2, 1, 0)
	})
}

// What is open and silent is in progress, for as long as it is open. Envoy 1.36 tells only of
// clusters that took a request since it reported last.
func TestSilentConnectionsAreInProgress(t *testing.T) {
	t.Parallel()
	w := startLoadWorld(t, envoytest.Newest)
	w.reporting()
	ws, tcp := w.open(w.http, upgrade("app", "/ws")), w.open(w.tcp, "")
	w.expect("app", 1, 0, 1)
	w.expect("tcp", 1, 0, 1)
	w.moreReports(3)
	w.expect("app", 1, 0, 1)
	w.expect("tcp", 1, 0, 1)
	if load := w.loads.Total(); load.InProgress != 2 {
		t.Errorf("in all: %+v", load)
	}
	_, _ = ws.Close(), tcp.Close()
	w.expect("app", 1, 0, 0)
	w.expect("tcp", 1, 0, 0)
}

// While somebody looks at a cluster, Envoy tells of its endpoints, too. Nothing is lost or
// counted twice when that begins and ends.
func TestEndpointsOfARealEnvoy(t *testing.T) {
	t.Parallel()
	w := startLoadWorld(t, envoytest.Newest)
	w.reporting()
	var sent uint32
	send := func() {
		for range 20 {
			w.get("app", "/200")
			sent++
		}
	}
	send()
	if got := w.loads.Endpoints("external", "app"); got != nil {
		t.Errorf("endpoints of a cluster at which nobody looks: %v", got)
	}
	w.open(w.http, upgrade("app", "/ws"))
	sent++
	for range 2 {
		w.loads.Watch("external", "app")
		w.eventually("the endpoint is told of", func() bool {
			send()
			of := w.loads.Endpoints("external", "app")
			one := of[w.app]
			return len(of) == 1 && one.InProgress == 1 && one.Requests > 0
		})
		if got := w.loads.Endpoints("external", "half"); got != nil {
			t.Errorf("endpoints of another cluster: %v", got)
		}
		f := w.loads.fleets["external"]
		f.mu.Lock()
		f.watches.of["app"].until = time.Time{} // nobody looks any more
		f.mu.Unlock()
		for range 3 {
			send()
			w.moreReports(1)
		}
		w.expect("app", sent, 0, 1)
	}
}

// What Envoy counts while it cannot report is not lost, and what was in progress is so still.
func TestReportingIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	w := startLoadWorld(t, envoytest.Newest)
	w.reporting()
	w.open(w.http, upgrade("app", "/ws"))
	w.expect("app", 1, 0, 1)
	for range 5 {
		before := w.counted("app")
		lost := w.cut()
		for range 10 {
			w.get("app", "/200")
		}
		w.eventually("the stream has ended", w.streamsEnded)
		if of := w.counted("app"); of.inProgress != 1 {
			t.Errorf("in progress while Envoy has lost its stream: %+v", of)
		}
		w.serve()
		if !lost() {
			w.expect("app", before.requests+10, 0, 1)
			break
		}
		t.Log("a report was lost")
		w.moreReports(2)
		w.unread() // what is left of these requests is counted
	}
	// Envoy ends, and with it all that it had open.
	w.envoy.Kill()
	w.eventually("the stream has ended", w.streamsEnded) // no report comes any more
	w.loads.fleets["external"].mu.Lock()
	for _, r := range w.loads.fleets["external"].envoys["edge-1"].streams {
		r.last = r.last.Add(-goneAfter)
	}
	w.loads.fleets["external"].mu.Unlock()
	w.eventually("nothing is in progress", func() bool { return w.loads.Total().InProgress == 0 })
}

// streamsEnded reports whether the server knows that Envoy has no stream.
func (w *loadWorld) streamsEnded() bool {
	f := w.loads.fleets["external"]
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(f.envoys["edge-1"].streams, func(r *reporter) bool { return !r.closed })
}
