package admin

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"relay/admin/api"
	"relay/xds"
)

// fakeLoad says when each Envoy reported last.
type fakeLoad struct {
	Load
	reported map[string]time.Time
}

func (f fakeLoad) EnvoyLoad(_, id string) (*api.Load, time.Time) { return nil, f.reported[id] }
func (fakeLoad) FleetLoad(string) *api.Load                      { return nil }

// An Envoy is said to report no load only when a report is due that has not come: Envoys report every 30 s if there are very
// many clusters.
func TestEnvoysReportWhenDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		connected, reported time.Duration // ago; 0 for never
		reports, due        bool
	}{
		"has just connected":               {connected: time.Second},
		"its first report comes soon":      {connected: 44 * time.Second},
		"it has never reported":            {connected: time.Minute, due: true},
		"it reports":                       {connected: time.Hour, reported: 31 * time.Second, reports: true},
		"it has reported, not any more":    {connected: time.Hour, reported: time.Minute, due: true},
		"it came back and reported before": {connected: time.Second, reported: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			load := fakeLoad{reported: map[string]time.Time{}}
			if tt.reported > 0 {
				load.reported["edge-1"] = now.Add(-tt.reported)
			}
			fleet := statusOf(load, now, tt.connected)
			if *fleet.Reporting == 1 != tt.reports || len(fleet.NotReported) == 0 != tt.reports || !tt.reports && fleet.NotReported[0].ReportDue(now) != tt.due {
				t.Errorf("%d report, %+v do not", *fleet.Reporting, fleet.NotReported)
			}
		})
	}
	// Of many, one of which a report is due is told of before those that came just now.
	old := time.Hour
	if fleet := statusOf(fakeLoad{}, now, append(slices.Repeat([]time.Duration{time.Second}, 2*maxNamed), old)...); len(fleet.NotReported) != maxNamed || !fleet.NotReported[0].ReportDue(now) || fleet.NotReported[1].ReportDue(now) {
		t.Errorf("of many: %+v", fleet.NotReported)
	}
}

// statusOf is the status of a fleet whose Envoys, edge-1 and so on, have connected so long ago.
func statusOf(load Load, now time.Time, connected ...time.Duration) api.FleetStatus {
	view := FleetView{Name: "external"}
	for i, ago := range connected {
		view.Envoys = append(view.Envoys, xds.StreamStatus{NodeID: fmt.Sprint("edge-", i+1), Since: now.Add(-ago)})
	}
	return (&Server{cfg: Config{Load: load}}).fleetStatus(view, nil, now)
}
