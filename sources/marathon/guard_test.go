package marathon

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

func TestFailedReadsChangeNothing(t *testing.T) {
	t.Parallel()
	const one = `{"app":{"id":"/a","labels":{},"tasks":[]}}`
	tests := map[string]marathontest.Fault{
		"truncated":     {Truncate: 150},
		"garbage":       {Body: "<html>Bad Gateway</html>"},
		"empty":         {Status: 200, Body: " "},
		"no apps":       {Body: `{"message":"x"}`},
		"null":          {Body: `{"apps":null}`},
		"half":          {Body: `{"apps":[{"id":"/a"}`},
		"more":          {Body: `{"apps":[]}{"apps":[]}`},
		"500":           {Status: 500, Body: `{"message":"URI not found"}`},
		"503":           {Status: 503, Body: `{"apps":[]}`},
		"404":           {Status: 404, Body: `{"message":"nothing here"}`},
		"another app":   {Body: strings.ReplaceAll(one, "/a", "/b")},
		"a wrong shape": {Body: `{"app":{"id":"/a","labels":7,"tasks":[]}}`},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := marathontest.Start(t, marathontest.Options{})
			load(t, m, "/a", "/b", "/c")
			w, sink, _ := watch(t, fastConfig(m.URL()))
			sink.await(t, "synced", contains("/c "))
			before := sink.state()

			fault.Times = 2
			m.Inject(marathontest.KindList, fault)
			reload(t, w)             // returns after the faults are over
			if fault.Status != 404 { // which is how Marathon tells that an app is gone
				m.Inject(marathontest.ReadOf("/a"), fault)
				status(m, "/a")
				poll(t, "read", func() bool { return m.Requests(marathontest.ReadOf("/a")) >= 1 })
				reload(t, w)
			}
			if after := sink.state(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			if n := sink.count(&sink.fewest); n != 3 {
				t.Errorf("down to %d apps", n)
			}
		})
	}
}

func TestNotFoundByAProxyIsNotARemoval(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	_, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/b "))
	m.Inject(marathontest.ReadOf("/a"), marathontest.Fault{Status: 404, Body: "404 page not found", Times: 1})
	status(m, "/a")
	poll(t, "retried", func() bool { return m.Requests(marathontest.ReadOf("/a")) >= 2 })
	if n := sink.count(&sink.fewest); n != 2 {
		t.Errorf("down to %d apps", n)
	}
	m.RemoveApp("/a")
	m.Publish("app_terminated_event", map[string]any{"appId": "/a"})
	sink.await(t, "removed", lacks("/a "))
}

func TestShrunkListHasToBeConfirmed(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b", "/c", "/d", "/e")
	cfg := fastConfig(m.URL())
	cfg.ConfirmDelay = 300 * time.Millisecond
	w, sink, _ := watch(t, cfg)
	sink.await(t, "synced", contains("/e "))

	for _, list := range []string{`{"apps":[]}`, fmt.Sprintf(`{"apps":[%s,%s]}`, m.AppJSON("/a"), m.AppJSON("/b"))} {
		m.Inject(marathontest.KindList, marathontest.Fault{Body: list, Times: 1})
		reload(t, w)
		if n := sink.count(&sink.fewest); n != 5 {
			t.Fatalf("one answer %.20s took effect: %d apps", list, n)
		}
	}
	m.Inject(marathontest.KindList, marathontest.Fault{Body: fmt.Sprintf(`{"apps":[%s,%s]}`, m.AppJSON("/a"), m.AppJSON("/b")), Times: 1})
	m.Inject(marathontest.KindList, marathontest.Fault{Body: fmt.Sprintf(`{"apps":[%s]}`, m.AppJSON("/c")), Times: 1})
	reload(t, w)
	if n := sink.count(&sink.fewest); n != 5 {
		t.Fatalf("two answers that do not agree took effect: %d apps", n)
	}
	for _, id := range []string{"/a", "/b", "/c", "/d", "/e"} {
		m.RemoveApp(id)
	}
	start := time.Now()
	reload(t, w)
	if took := time.Since(start); took < cfg.ConfirmDelay {
		t.Errorf("an empty list took effect after %s", took)
	}
	if s := sink.state(); s != "" {
		t.Errorf("a confirmed empty list took no effect:\n%s", s)
	}
}

func TestOlderVersionHasToBeConfirmed(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/b "))
	old := strings.Replace(definition("/a", "old.test"), "{", `{"version":"2001-01-01T00:00:00.000Z","tasks":[],`, 1)
	m.Inject(marathontest.ReadOf("/a"), marathontest.Fault{Body: `{"app":` + old + `}`, Times: 1})
	m.Inject(marathontest.KindList, marathontest.Fault{Body: fmt.Sprintf(`{"apps":[%s,%s]}`, old, m.AppJSON("/b")), Times: 1})
	status(m, "/a")
	poll(t, "read", func() bool { return m.Requests(marathontest.ReadOf("/a")) >= 1 })
	reload(t, w)
	if s := sink.state(); !strings.Contains(s, "[a.test]") || sink.saw("old.test") {
		t.Errorf("an older version took effect:\n%s", s)
	}
	if err := m.LoadApps(marathontest.App{Definition: old}); err != nil {
		t.Fatal(err)
	}
	reload(t, w)
	sink.await(t, "confirmed twice", contains("[old.test]"))
}

// TestStaleAnswerIsDiscarded has a single read answer, after a full read that
// started later was applied, what was true before.
func TestStaleAnswerIsDiscarded(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b")
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/b "))
	stale := strings.Replace(string(m.AppJSON("/a")), "a.test", "stale.test", 1)
	answer := m.Inject(marathontest.ReadOf("/a"), marathontest.Fault{Hang: true, Body: `{"app":` + stale + `}`, Times: 1})
	status(m, "/a")
	poll(t, "read", func() bool { return m.Requests(marathontest.ReadOf("/a")) == 1 })
	reload(t, w)
	status(m, "/a")
	answer()
	poll(t, "read again", func() bool { return m.Requests(marathontest.ReadOf("/a")) == 2 })
	if sink.saw("stale.test") {
		t.Error("a stale answer took effect")
	}
}

// TestStaleAnswerBringsNothingBack has the answer of a single read come after the
// full read, started later, that lacks the app or pod.
func TestStaleAnswerBringsNothingBack(t *testing.T) {
	t.Parallel()
	const version = "2024-05-01T10:00:00.000Z"
	tests := []struct {
		name   string
		load   func(*testing.T, *marathontest.Server)
		remove func(*marathontest.Server)
		kind   marathontest.Kind
		stale  string
	}{
		{
			"app", func(t *testing.T, m *marathontest.Server) { load(t, m, "/x") }, func(m *marathontest.Server) { m.RemoveApp("/x") },
			marathontest.ReadOf("/x"), `{"app":` + strings.Replace(definition("/x", "stale.test"), `{`, `{"version":"`+version+`",`, 1) + `}`,
		},
		{
			"pod", func(t *testing.T, m *marathontest.Server) {
				if err := m.SetPod(onePod("/x", "x.test", version, 80)); err != nil {
					t.Fatal(err)
				}
			}, func(m *marathontest.Server) { m.RemovePod("/x") },
			marathontest.KindPod, onePod("/x", "stale.test", version, 80),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := marathontest.Start(t, marathontest.Options{})
			load(t, m, "/a")
			tt.load(t, m)
			w, sink, _ := watch(t, podConfig(m))
			sink.await(t, "synced", contains("/x [x.test]"))
			answer := m.Inject(tt.kind, marathontest.Fault{Hang: true, Body: tt.stale, Times: 1})
			status(m, "/x")
			poll(t, "read", func() bool { return m.Requests(tt.kind) == 1 })
			tt.remove(m)
			reload(t, w)
			sink.await(t, "gone", lacks("/x "))
			status(m, "/x") // read once more when the stale answer has been dealt with
			answer()
			poll(t, "read again", func() bool { return m.Requests(tt.kind) == 2 })
			if sink.saw("stale.test") {
				t.Error("a stale answer brought back what was deleted")
			}
		})
	}
}

// TestIDsOfSubResources follows apps whose own paths mean something else before
// Marathon 1.8: by single reads, and never losing them.
func TestIDsOfSubResources(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"/x/tasks", "/x/versions", "/x/restart", "/x/tasks/y", "/x/versions/y"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			m := marathontest.Start(t, marathontest.Options{})
			put := func(domain string) {
				t.Helper()
				app := marathontest.App{Definition: definition(id, domain), Tasks: []marathontest.Task{{ID: "x.1", Host: "agent.test", Ports: []int{31000}}}}
				if err := m.LoadApps(app); err != nil {
					t.Fatal(err)
				}
			}
			load(t, m, "/a", "/y"+id) // the latter has the id within its own
			put("one.test")
			cfg := fastConfig(m.URL())
			cfg.LookupHost = func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
			}
			_, sink, _ := watch(t, cfg)
			sink.await(t, "read again for the agent's address", contains(id+" [one.test] [x.1@10.0.0.7:31000/healthy]"))
			m.ResetRequests()
			put("two.test")
			status(m, id)
			sink.await(t, "changed", contains(id+" [two.test]"))
			m.RemoveApp(id)
			status(m, id)
			sink.await(t, "removed", lacks("\n"+id+" "))
			if !strings.Contains(sink.state(), "/y"+id+" ") {
				t.Errorf("another app is gone:\n%s", sink.state())
			}
			if n := m.Requests(marathontest.KindList); n != 0 {
				t.Errorf("%d full reads for changes of one app", n)
			}
		})
	}
}

// TestLaterSingleReadOutlivesFullRead removes an app, adds one and changes one
// while a full read, started before, is on its way.
func TestLaterSingleReadOutlivesFullRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a", "/b", "/c")
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/c "))
	old := fmt.Sprintf(`{"apps":[%s,%s,%s]}`, m.AppJSON("/a"), m.AppJSON("/b"), m.AppJSON("/c"))
	lists := m.Requests(marathontest.KindList)
	answer := m.Inject(marathontest.KindList, marathontest.Fault{Hang: true, Body: old, Times: 1})
	done := make(chan error, 1)
	go func() { done <- w.Reload(t.Context()) }()
	poll(t, "full read", func() bool { return m.Requests(marathontest.KindList) == lists+1 })
	m.RemoveApp("/a")
	load(t, m, "/d")
	if err := m.LoadApps(marathontest.App{Definition: definition("/b", "new.test")}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"/a", "/b", "/d"} {
		status(m, id)
	}
	read := func(s string) bool {
		return !strings.Contains(s, "/a ") && strings.Contains(s, "/b [new.test]") && strings.Contains(s, "/d ")
	}
	sink.await(t, "single reads", read)
	answer()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := sink.state(); !read(s) {
		t.Errorf("the full read undid what was read later:\n%s", s)
	}
}
