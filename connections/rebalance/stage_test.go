package rebalance

import (
	"net/netip"
	"testing"

	"relay/sources"
)

// recorder is a Sink that keeps what it is told.
type recorder struct {
	apps   map[string]*sources.App
	causes []string
	calls  int
}

func (r *recorder) AppsBecause(cause string) { r.causes = append(r.causes, cause) }
func (r *recorder) SyncApps(apps []*sources.App) {
	r.apps = make(map[string]*sources.App)
	r.UpdateApps(apps, nil)
}
func (r *recorder) UpdateApps(set []*sources.App, removed []string) {
	r.calls++
	for _, app := range set {
		r.apps[app.ID] = app
	}
	for _, id := range removed {
		delete(r.apps, id)
	}
}

func TestStage(t *testing.T) {
	t.Parallel()
	app := func(id string, rate float64) *sources.App {
		return &sources.App{ID: id, Ports: []sources.Port{
			{Endpoints: []sources.Endpoint{{Address: simAddress(0)}}},
			{TCP: &sources.TCP{Port: 1, Rebalance: rate}, Endpoints: []sources.Endpoint{{Address: simAddress(0)}, {Address: netip.MustParseAddrPort("[::ffff:10.0.0.1]:8883")}}},
		}}
	}
	r := new(recorder)
	s := NewStage(r)
	plain, imp := app("/plain", 0), app("/imp", 10)
	s.AppsBecause("a read")
	s.SyncApps([]*sources.App{plain, imp})
	if r.apps["/plain"] != plain || r.apps["/imp"] != imp || len(r.causes) != 1 || r.causes[0] != "a read" {
		t.Errorf("handed on: %v, because of %q", r.apps, r.causes)
	}
	if ids := s.ids(); len(ids) != 1 || ids[0] != "/imp" {
		t.Errorf("those that ask for it: %v", ids)
	}
	shed := sources.Shed{Percent: 5, Before: 9}
	decided := func() map[string]portSheds {
		return map[string]portSheds{
			"/imp":   {1: {simAddress(1): shed}, 0: {simAddress(0): shed}},
			"/plain": {1: {simAddress(1): shed}}, "/other": {1: {simAddress(1): shed}},
		}
	}
	s.set(decided())
	got := r.apps["/imp"].Ports
	if got[1].Endpoints[1].Shed != shed || got[1].Endpoints[0].Shed != (sources.Shed{}) || got[0].Endpoints[0].Shed != (sources.Shed{}) || r.apps["/plain"] != plain {
		t.Errorf("sheds: %+v", got)
	}
	if imp.Ports[1].Endpoints[1].Shed != (sources.Shed{}) {
		t.Error("an app was modified that was handed on")
	}
	calls := r.calls
	if s.set(decided()); r.calls != calls {
		t.Error("the same is handed on again")
	}
	// What the source says anew keeps it.
	if s.UpdateApps([]*sources.App{app("/imp", 10)}, nil); r.apps["/imp"].Ports[1].Endpoints[1].Shed != shed {
		t.Error("a read of the app took it away")
	}
	if s.SyncApps([]*sources.App{app("/plain", 0), app("/imp", 10)}); r.apps["/imp"].Ports[1].Endpoints[1].Shed != shed {
		t.Error("a read of all apps took it away")
	}
	if s.set(nil); r.apps["/imp"].Ports[1].Endpoints[1].Shed != (sources.Shed{}) {
		t.Error("it is not taken away")
	}
	s.set(decided())
	// An app that does not ask for it any more, and one that is gone.
	if s.UpdateApps([]*sources.App{app("/imp", 0)}, nil); r.apps["/imp"].Ports[1].Endpoints[1].Shed != (sources.Shed{}) || len(s.ids()) != 0 {
		t.Error("an app that does not ask for it any more keeps it")
	}
	s.UpdateApps([]*sources.App{app("/imp", 10)}, nil)
	if s.UpdateApps(nil, []string{"/imp"}); len(s.ids()) != 0 || len(s.sheds) != 0 || r.apps["/imp"] != nil {
		t.Error("an app that is gone is kept")
	}
}
