package history

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/xds"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// newTest returns a History of which Envoy "slow" has nothing.
func newTest() *History {
	h := New(func(_ string, revisions []uint64, _ int) map[uint64][]string {
		waiting := make(map[uint64][]string)
		for _, r := range revisions {
			waiting[r] = []string{"slow"}
		}
		return waiting
	})
	h.now = func() time.Time { return noon }
	return h
}

func publication(revision uint64, apps ...string) Publication {
	p := Publication{Fleet: "edge", Revision: revision, Time: noon, Resources: len(apps)}
	for _, app := range apps {
		p.Apps = append(p.Apps, Part{Name: app, Cause: "event of " + app, What: []string{fmt.Sprintf("%s in %d", app, revision)}})
	}
	return p
}

func text(changes []Change) string {
	var all []string
	for _, c := range changes {
		line := fmt.Sprintf("%d %s rev %d by %q for %v %v: %v", c.ID, c.Fleet, c.Revision, c.Cause, c.Apps, c.Certificates, c.What)
		if c.Converged != nil {
			line += fmt.Sprintf(" after %gs by %d", *c.Converged, c.Envoys)
		}
		if len(c.Waiting)+len(c.Rejected) > 0 {
			line += fmt.Sprint(" but ", c.Waiting, c.Rejected)
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

func expect(t *testing.T, what string, changes []Change, want ...string) {
	t.Helper()
	if got := text(changes); got != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := newTest()
	h.Add(publication(1, "/a"))
	h.Add(publication(2, "/a", "/b"))
	h.Add(publication(2, "/c")) // no revision of its own
	other := publication(1)
	other.Fleet, other.Cause = "core", "files for TLS were read again"
	other.Certificates = []Part{{Name: "a.test", Cause: "Vault: poll", What: []string{"renewed"}}}
	h.Add(other)
	h.Converged("edge", xds.Converged{Revision: 1, Envoys: 2, Took: time.Second, Rejected: []xds.RejectedResource{{Key: xds.Key{Type: xds.Listener, Name: "http"}, Nodes: []string{"bad"}, Message: "no"}}})

	first := `1 edge rev 1 by "event of /a" for [/a] []: [/a in 1] after 1s by 2 but [] [{bad listeners http no}]`
	second := `2 edge rev 2 by "event of /a, and 1 more" for [/a /b] []: [/a: /a in 2 /b: /b in 2] but [slow] []`
	third := `3 core rev 1 by "files for TLS were read again, and 1 more" for [] [a.test]: [renewed] but [slow] []`
	expect(t, "all", h.Last(10, 0), third, second, first)
	expect(t, "a page", h.Last(1, 3), second)
	expect(t, "after the end", h.Last(10, 1))
	expect(t, "since", h.Since(1, 10), second, third)
	expect(t, "an app", h.OfApp("/a"), `2 edge rev 2 by "event of /a" for [/a /b] []: [/a in 2] but [slow] []`, first)
	expect(t, "another", h.OfApp("/b"), `2 edge rev 2 by "event of /b" for [/a /b] []: [/b in 2] but [slow] []`)
	expect(t, "unknown", h.OfApp("/c"))
	expect(t, "a certificate", h.OfCertificate("a.test"), `3 core rev 1 by "Vault: poll" for [] [a.test]: [renewed] but [slow] []`)
	if got := h.LastChanged("/a"); !got.Equal(noon) || !h.LastChanged("/c").IsZero() {
		t.Errorf("last changed %s", got)
	}
}

// All Envoys may have a change before it is added.
func TestConvergedEarly(t *testing.T) {
	t.Parallel()
	h := newTest()
	h.Converged("edge", xds.Converged{Revision: 1, Envoys: 1, Took: time.Second})
	h.Add(publication(1, "/a"))
	expect(t, "early", h.Last(1, 0), `1 edge rev 1 by "event of /a" for [/a] []: [/a in 1] after 1s by 1`)
	for i := range uint64(10 * maxEarly) {
		h.Converged("edge", xds.Converged{Revision: 100 + i, Envoys: 1})
	}
	if n := len(h.fleets["edge"].early); n > maxEarly {
		t.Errorf("%d are kept that were never added", n)
	}
	h.Add(publication(100+10*maxEarly-1, "/b"))
	expect(t, "early after those that are not added", h.Last(1, 0), `2 edge rev 1099 by "event of /b" for [/b] []: [/b in 1099] after 0s by 1`)
}

// The last changes are kept, and of one app some more.
func TestLimits(t *testing.T) {
	t.Parallel()
	h := newTest()
	h.Add(publication(1, "/quiet"))
	for i := range uint64(maxChanges + 10) {
		h.Add(publication(2+i, "/busy"))
	}
	if all := h.Last(2*maxChanges, 0); len(all) != maxChanges || all[maxChanges-1].ID != 12 {
		t.Errorf("%d changes, the oldest %d", len(all), all[len(all)-1].ID)
	}
	if n := len(h.OfApp("/busy")); n != maxOfOne {
		t.Errorf("%d changes of a busy app", n)
	}
	expect(t, "a quiet app", h.OfApp("/quiet"), `1 edge rev 1 by "event of /quiet" for [/quiet] []: [/quiet in 1]`)
	if n := len(h.fleets["edge"].open); n != maxChanges {
		t.Errorf("%d are awaited", n)
	}
	checkBytes(t, h)
}

// checkBytes counts what is kept.
func checkBytes(t *testing.T, h *History) {
	t.Helper()
	textBytes, bodyBytes := 0, 0
	seen := make(map[*entry]bool)
	count := func(e *entry) {
		if !seen[e] {
			seen[e] = true
			textBytes += e.size
			bodyBytes += e.bodyBytes
		}
	}
	for _, e := range h.last {
		count(e)
	}
	for _, logs := range []map[string]*log{h.apps, h.certificates} {
		for _, l := range logs {
			for _, p := range l.parts {
				count(p.entry)
				textBytes += p.size
			}
		}
	}
	if textBytes != h.textBytes || bodyBytes != h.bodyBytes {
		t.Errorf("%d bytes of words and %d of bodies are kept, counted are %d and %d", textBytes, bodyBytes, h.textBytes, h.bodyBytes)
	}
}

// Random changes never make it forget what it keeps, or keep too much.
func TestRandomChanges(t *testing.T) {
	t.Parallel()
	h := newTest()
	random := rand.New(rand.NewPCG(1, 2))
	last := make(map[string]uint64)
	for revision := uint64(1); revision < 3000; revision++ {
		p := Publication{Fleet: "edge", Revision: revision, Time: noon}
		for range random.IntN(5) {
			name := fmt.Sprint("/app-", random.IntN(40))
			if !slices.ContainsFunc(p.Apps, func(p Part) bool { return p.Name == name }) {
				p.Apps = append(p.Apps, Part{Name: name, Cause: "c", What: []string{strings.Repeat("w", random.IntN(100))}, Gone: random.IntN(10) == 0})
				last[name] = revision
			}
		}
		p.Bodies = []Body{{Key: xds.Key{Name: "x"}, After: make([]byte, random.IntN(50_000))}}
		h.Add(p)
	}
	checkBytes(t, h)
	if h.textBytes > maxTextBytes || h.bodyBytes > maxBodyBytes {
		t.Errorf("%d bytes of words, %d of bodies", h.textBytes, h.bodyBytes)
	}
	for name, revision := range last {
		all := h.OfApp(name)
		if len(all) != maxOfOne || all[0].Revision != revision || !slices.IsSortedFunc(all, func(a, b Change) int { return int(b.ID) - int(a.ID) }) {
			t.Errorf("%s: %d changes, the last one %d and not %d", name, len(all), all[0].Revision, revision)
		}
	}
}

// A large installation in which everything changes takes no more than it may.
func TestMemory(t *testing.T) {
	const apps = 50_000
	before := heap()
	h := newTest()
	ids := make([]string, apps)
	for i := range ids {
		ids[i] = fmt.Sprintf("/team-%02d/service-%05d", i%40, i)
	}
	revision := uint64(1)
	h.Add(publication(revision, ids...))
	for range 3 * apps / 50 {
		revision++
		p := publication(revision)
		for range 50 {
			id := ids[rand.IntN(apps)]
			p.Apps = append(p.Apps, Part{Name: id, Cause: "Marathon: status_update_event: task " + id + ".instance-1 TASK_RUNNING", What: []string{"port 0: +10.0.0.1:31000 -10.0.0.2:31001"}})
		}
		p.Bodies = []Body{{Key: xds.Key{Name: ids[0]}, Before: make([]byte, 2000), After: make([]byte, 2000)}}
		h.Add(p)
	}
	used := heap() - before
	t.Logf("%d MB for %d changes of %d apps", used>>20, revision, apps)
	if most := int64(maxTextBytes+maxBodyBytes)*3/2 + apps*200; used > most {
		t.Errorf("%d MB are in use, at most %d are allowed", used>>20, most>>20)
	}
	checkBytes(t, h)
	start := time.Now()
	for _, id := range ids {
		if h.LastChanged(id).IsZero() {
			t.Fatalf("no time of %s", id)
		}
	}
	t.Logf("the times of all apps take %s", time.Since(start))
	runtime.KeepAlive(h)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	h := newTest()
	changes, end := h.Subscribe(2)
	defer end()
	h.Add(publication(1, "/a"))
	h.Converged("edge", xds.Converged{Revision: 1, Envoys: 1, Took: time.Second})
	for i, converged := range []bool{false, true} {
		if c := <-changes; c.ID != 1 || (c.Converged != nil) != converged {
			t.Errorf("%d: %+v", i, c)
		}
	}
	for i := range uint64(5) {
		h.Add(publication(2+i, "/a"))
	}
	got := 0
	for range changes {
		got++
	}
	if got != 2 {
		t.Errorf("%d changes of 5 fitted into a buffer of 2", got)
	}
	end()
	for range 2 * maxSubscribers {
		h.Subscribe(1)
	}
	if n := len(h.subscribers); n != maxSubscribers {
		t.Errorf("%d readers", n)
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	h := newTest()
	if sum := h.LastHour(); sum.Changes != 0 || sum.P50 != nil {
		t.Errorf("at first: %+v", sum)
	}
	for i := range uint64(100) {
		h.Add(publication(1+i, "/a"))
		took := 10 * time.Millisecond
		if i >= 98 {
			took = 2 * time.Second
		}
		h.Converged("edge", xds.Converged{Revision: 1 + i, Envoys: 1, Took: took})
	}
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || *got < want || *got > 1.2*want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	sum := h.LastHour()
	near("p50", sum.P50, 0.01)
	near("p99", sum.P99, 2)
	s := h.Series()
	if n := len(s.Changes); n != 360 || s.Changes[n-1] != 100 || s.Changes[n-2] != 0 || s.P50[n-2] != nil || !s.Start.Equal(noon.Add(-3590*time.Second)) {
		t.Errorf("%d points from %s, the last %v", n, s.Start, s.Changes[n-2:])
	}
	near("p99 of the last point", s.P99[359], 2)
	h.now = func() time.Time { return noon.Add(59 * time.Minute) }
	if sum := h.LastHour(); sum.Changes != 100 {
		t.Errorf("almost an hour later: %+v", sum)
	}
	h.now = func() time.Time { return noon.Add(time.Hour) }
	if sum := h.LastHour(); sum.Changes != 0 || sum.P50 != nil {
		t.Errorf("an hour later: %+v", sum)
	}
}

// What the last change of an app changed is kept, until there is a newer one.
func TestDiffs(t *testing.T) {
	t.Parallel()
	h := newTest()
	add := func(revision uint64, size int, apps ...string) {
		p := publication(revision, apps...)
		for _, app := range apps {
			p.Bodies = append(p.Bodies, Body{Key: xds.Key{Type: xds.Endpoint, Name: app + "_0"}, Before: make([]byte, size), After: []byte{byte(revision)}, Apps: []string{app}})
		}
		p.Bodies = append(p.Bodies, Body{Key: xds.Key{Type: xds.Listener, Name: "https"}})
		h.Add(p)
	}
	names := func(app string) string {
		var all []string
		for _, d := range h.Diffs(app) {
			all = append(all, fmt.Sprint(d.Change.ID, d.Known))
			for _, b := range d.Bodies {
				all = append(all, b.Name)
			}
		}
		return strings.Join(all, " ")
	}
	add(1, 100, "/a", "/b")
	add(2, 100, "/a")
	if a, b, c := names("/a"), names("/b"), names("/c"); a != "2 true /a_0 https" || b != "1 true /b_0 https" || c != "" {
		t.Errorf("/a: %s, /b: %s, /c: %s", a, b, c)
	}
	add(3, 100, "/b")
	if e := h.last[0]; e.bodies != nil {
		t.Error("what is the last change of no app is kept")
	}
	for i := range uint64(40) {
		add(4+i, 1<<20, fmt.Sprint("/large-", i))
	}
	if a := names("/a"); a != "2 false" {
		t.Errorf("of an old change: %s", a)
	}
	checkBytes(t, h)
}
