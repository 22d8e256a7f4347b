package marathon

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

func TestFollowsDeployments(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{PublishLag: 50 * time.Millisecond})
	_, sink, _ := watch(t, fastConfig(m.URL()))
	if err := m.Apply(`{"id":"/shop/web","instances":1,"cmd":"x","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"one.test"},"portDefinitions":[{"port":0}]}`); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "deployed", func(s string) bool { return strings.Contains(s, "[one.test]") && strings.Contains(s, "/healthy") })
	idle(t, m)
	if err := m.Apply(`{"id":"/shop/web","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"two.test"}}`); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "label changed", contains("[two.test]"))
	idle(t, m)
	if err := m.DeleteApp("/shop/web"); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "deleted", func(s string) bool { return s == "" })
	idle(t, m)
	if err := m.Apply(`{"id":"/shop/web","instances":1,"cmd":"x","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"three.test"},"portDefinitions":[{"port":0}]}`); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "created again", func(s string) bool { return strings.Contains(s, "[three.test]") && strings.Contains(s, "/healthy") })
}

func TestNothingIsReadBeforeTheFirstEvent(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	m.SetStreams(marathontest.StreamsSilent)
	cfg := fastConfig(m.URL())
	cfg.AttachTimeout = 100 * time.Millisecond
	w, sink, _ := watch(t, cfg)
	poll(t, "three attempts", func() bool { return m.Requests(marathontest.KindEvents) >= 3 })
	if n := m.Requests(marathontest.KindList); n != 0 {
		t.Errorf("%d full reads without a subscription", n)
	}
	if e := w.currentState().lastError; !strings.Contains(e, errNoEvent.Error()) {
		t.Errorf("last error %q", e)
	}
	m.SetStreams(marathontest.StreamsEnd)
	after := m.Requests(marathontest.KindEvents)
	poll(t, "three more", func() bool { return m.Requests(marathontest.KindEvents) >= after+3 })
	if n := m.Requests(marathontest.KindList); n != 0 {
		t.Errorf("%d full reads without a subscription", n)
	}
	m.SetStreams(marathontest.StreamsServe)
	sink.await(t, "synced", contains("a.1@10.0.0.1:31000"))
}

// TestEventDuringFullRead has the full read answer what was true before an event.
func TestEventDuringFullRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	old := fmt.Sprintf(`{"apps":[%s]}`, m.AppJSON("/a"))
	answer := m.Inject(marathontest.KindList, marathontest.Fault{Hang: true, Body: old})
	cfg := fastConfig(m.URL())
	var events atomic.Int32
	cfg.OnEvent = func(string) { events.Add(1) }
	_, sink, _ := watch(t, cfg)
	poll(t, "full read", func() bool { return m.Requests(marathontest.KindList) == 1 })
	if err := m.LoadApps(marathontest.App{Definition: definition("/a", "new.test")}); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		status(m, "/a")
	}
	poll(t, "events", func() bool { return events.Load() == 51 })
	if n := m.Requests(marathontest.KindApp); n != 0 {
		t.Errorf("%d single reads before the first full read", n)
	}
	answer()
	sink.await(t, "re-read", contains("[new.test]"))
	if n := m.Requests(marathontest.KindList); n != 1 {
		t.Errorf("%d full reads, want 1", n)
	}
}

func TestEventsAreCoalesced(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	_, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/b "))
	answer := m.Inject(marathontest.ReadOf("/a"), marathontest.Fault{Hang: true})
	status(m, "/a")
	poll(t, "read", func() bool { return m.Requests(marathontest.ReadOf("/a")) == 1 })
	for range 500 {
		status(m, "/a")
	}
	if err := m.LoadApps(marathontest.App{Definition: definition("/b", "new.test")}); err != nil {
		t.Fatal(err)
	}
	status(m, "/b")
	sink.await(t, "another app is not held up", contains("/b [new.test]"))
	updates := sink.count(&sink.updates)
	answer()
	poll(t, "second read", func() bool { return m.Requests(marathontest.ReadOf("/a")) == 2 })
	if err := m.LoadApps(marathontest.App{Definition: definition("/b", "newer.test")}); err != nil {
		t.Fatal(err)
	}
	status(m, "/b")
	sink.await(t, "after it", contains("/b [newer.test]"))
	if n := m.Requests(marathontest.ReadOf("/a")); n != 2 {
		t.Errorf("%d reads for 501 events, want 2", n)
	}
	if n := m.MostInFlight(marathontest.ReadOf("/a")); n != 1 {
		t.Errorf("%d reads of one app at a time", n)
	}
	if n := sink.count(&sink.updates); n != updates+1 {
		t.Errorf("%d calls of the sink, want 1: unchanged apps make none", n-updates)
	}
}

func TestManyChangesMakeOneFullRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprintf("/app%d", i))
	}
	load(t, m, ids...)
	cfg := fastConfig(m.URL())
	cfg.FullReadThreshold, cfg.MaxReads = 10, 3
	_, sink, _ := watch(t, cfg)
	sink.await(t, "synced", contains("/app99 "))
	answer := m.Inject(marathontest.KindApp, marathontest.Fault{Hang: true})
	m.HoldEvents(true)
	for _, id := range ids {
		if err := m.LoadApps(marathontest.App{Definition: definition(id, "new"+id[1:]+".test")}); err != nil {
			t.Fatal(err)
		}
		status(m, id)
	}
	m.HoldEvents(false)
	sink.await(t, "all new", func(s string) bool { return strings.Count(s, "[newapp") == 100 })
	answer()
	if n := m.Requests(marathontest.KindApp); n > 30 {
		t.Errorf("%d single reads for 100 changes", n)
	}
	if n := m.MostInFlight(marathontest.KindApp); n > 3 {
		t.Errorf("%d single reads at a time, want at most 3", n)
	}
	if n := m.MostInFlight(marathontest.KindList); n != 1 {
		t.Errorf("%d full reads at a time", n)
	}
}

func TestPeriodicReadHealsLostEvents(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	cfg := fastConfig(m.URL())
	cfg.SyncInterval = 30 * time.Millisecond
	_, sink, _ := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	m.DropEvents(true)
	load(t, m, "/c")
	m.RemoveApp("/a")
	sink.await(t, "healed", func(s string) bool { return strings.Contains(s, "/c ") && !strings.Contains(s, "/a ") })
}

func TestCutStreamIsFollowedByAFullRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/a "))
	m.DropEvents(true)
	m.RemoveApp("/a")
	m.DropEvents(false)
	m.CutStreams()
	sink.await(t, "read again", lacks("/a "))
	poll(t, "connected", func() bool { return w.currentState().connected })
	m.Down()
	poll(t, "not connected", func() bool { return !w.currentState().connected })
	poll(t, "the reason", func() bool { return w.Status().LastError != "" })
	if s := w.Status(); s.Connected || s.NotFollowedSince.Before(s.LastSync) || s.Apps != 1 {
		t.Errorf("status while Marathon is away: %+v", s)
	}
	load(t, m, "/c")
	if err := m.Up(); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "back", contains("/c "))
	poll(t, "connected again", func() bool { return w.Status().Connected })
	if s := w.Status(); s.Apps != 2 || s.LastSync.IsZero() || w.currentState().lastEvent.IsZero() || s.Name != m.URL() || !s.NotFollowedSince.IsZero() {
		t.Errorf("status %+v", s)
	}
}

func TestUnusableEventMakesAFullRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	_, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/a "))
	load(t, m, "/b")
	m.Publish("status_update_event", map[string]any{"appId": 7})
	sink.await(t, "read again", contains("/b "))
}

func TestLostResultsChangeNothing(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	app := marathontest.App{
		Definition: strings.Replace(definition("/a", "a.test"), "{", `{"healthChecks":[{"protocol":"HTTP"}],`, 1),
		Tasks:      []marathontest.Task{{ID: "good", Host: "10.0.0.1", Ports: []int{31000}}, {ID: "bad", Host: "10.0.0.2", Ports: []int{31000}}},
	}
	if err := m.LoadApps(app); err != nil {
		t.Fatal(err)
	}
	if err := m.SetHealth("bad", false); err != nil {
		t.Fatal(err)
	}
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("good@"))
	m.ForgetHealth()
	reload(t, w)
	m.CutStreams()
	reload(t, w)
	if s := sink.state(); !strings.Contains(s, "good@") || strings.Contains(s, "bad@") {
		t.Errorf("checkResults were not kept:\n%s", s)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	cfg := fastConfig(m.URL())
	var armed, panicked atomic.Bool
	cfg.OnEvent = func(eventType string) {
		if eventType == "status_update_event" && armed.Swap(false) {
			panicked.Store(true)
			panic("for the test")
		}
	}
	_, sink, _ := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	armed.Store(true)
	load(t, m, "/b")
	status(m, "/a")
	sink.await(t, "the next connection", contains("/b "))
	if !panicked.Load() {
		t.Error("nothing panicked")
	}
}
