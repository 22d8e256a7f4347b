package page

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
	"relay/collator/explain"
)

// fakeData is Data made of its answers.
type fakeData struct {
	mu           sync.Mutex
	status       api.Status
	apps         []api.App
	story        api.AppStory
	domains      []api.Domain
	domainStory  api.DomainStory
	envoys       []api.Envoy
	envoyStory   api.EnvoyStory
	certificates []api.Certificate
	uncovered    []api.UncoveredDomain
	authorities  []api.Authority
	problems     []api.Problem
	changes      []api.Change
	failures     []api.Failure
	probes       []api.Probe
	deployments  []api.Deployment
}

// change changes the answers.
func (f *fakeData) change(how func(*fakeData)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f)
}

func locked[T any](f *fakeData, get func() T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return get()
}

func (f *fakeData) Status() *api.Status {
	return locked(f, func() *api.Status { s := f.status; s.Findings = findings.OfStatus(&s); return &s })
}

// pageOf returns the entries that a query asks for. Its cursor is a number.
func pageOf[T any](all []T, q url.Values, name func(T) string) ([]T, api.Page) {
	var found []T
	for _, one := range all {
		if strings.Contains(strings.ToLower(name(one)), strings.ToLower(q.Get("q"))) {
			found = append(found, one)
		}
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	from, _ := strconv.Atoi(q.Get("cursor"))
	page := api.Page{Total: len(found)}
	to := min(from+limit, len(found))
	if to < len(found) {
		page.Next = strconv.Itoa(to)
	}
	return found[from:to], page
}

func (f *fakeData) Apps(q url.Values) (api.Apps, error) {
	if q.Get("sort") == "wrong" {
		return api.Apps{}, fmt.Errorf("the parameter sort is %q", q.Get("sort"))
	}
	return locked(f, func() (a api.Apps) {
		a.Apps, a.Page = pageOf(f.apps, q, func(one api.App) string { return one.ID })
		return a
	}), nil
}

func (f *fakeData) App(id string) (api.AppStory, bool) {
	return locked(f, func() api.AppStory {
		story := f.story
		story.Findings = findings.OfApp(&story, nil, time.Now())
		return story
	}), id == f.story.ID
}

func (f *fakeData) Domains(q url.Values) (api.Domains, error) {
	return locked(f, func() (a api.Domains) {
		a.Domains, a.Page = pageOf(f.domains, q, func(one api.Domain) string { return one.Name })
		return a
	}), nil
}

func (f *fakeData) Domain(name string) (api.DomainStory, bool) {
	if name != f.domainStory.Name {
		return api.DomainStory{Explanation: json.RawMessage(`{"subject":"shop.tets","known":false,"near":["shop.test","/shop/web"]}`)}, false
	}
	story := f.domainStory
	var e explain.Explanation
	if err := json.Unmarshal(story.Explanation, &e); err != nil {
		panic(err)
	}
	story.Findings = findings.OfDomain(&story, &e, nil, time.Now())
	return story, true
}

func (f *fakeData) Envoys(q url.Values) (api.Envoys, error) {
	return locked(f, func() (a api.Envoys) {
		a.Envoys, a.Page = pageOf(f.envoys, q, func(one api.Envoy) string { return one.ID })
		return a
	}), nil
}

func (f *fakeData) Envoy(fleet, id string) (api.EnvoyStory, bool) {
	return f.envoyStory, fleet == f.envoyStory.Fleet && id == f.envoyStory.ID
}

func (f *fakeData) Authorities(q url.Values) (api.Authorities, error) {
	return locked(f, func() (a api.Authorities) {
		a.Authorities, a.Page = pageOf(f.authorities, q, func(one api.Authority) string { return one.Name })
		return a
	}), nil
}

func (f *fakeData) Certificates(q url.Values) (api.Certificates, error) {
	return locked(f, func() (a api.Certificates) {
		a.Certificates, a.Page = pageOf(f.certificates, q, func(one api.Certificate) string { return one.Name })
		return a
	}), nil
}

func (f *fakeData) Certificate(name string) (api.CertificateStory, bool) {
	for _, c := range f.certificates {
		if name == c.Source+"/"+strings.TrimLeft(c.Name, "/") {
			return api.CertificateStory{Certificate: c, Problems: f.problems[:min(len(f.problems), 1)], LastChanges: f.changes}, true
		}
	}
	return api.CertificateStory{}, false
}

func (f *fakeData) Uncovered() api.Uncovered { return api.Uncovered{Uncovered: f.uncovered} }

func (f *fakeData) Problems(q url.Values) (api.Problems, error) {
	a := api.Problems{Summary: f.status.Summary}
	var some []api.Problem
	for _, p := range f.problems {
		if severity := q.Get("severity"); severity == "" || string(p.Severity) == severity {
			some = append(some, p)
		}
	}
	a.Problems, a.Page = pageOf(some, q, func(one api.Problem) string { return one.Reason })
	return a, nil
}

func (f *fakeData) Changes(q url.Values) (api.Changes, error) {
	return locked(f, func() (a api.Changes) {
		a.Changes, a.Page = pageOf(f.changes, q, func(one api.Change) string { return one.Cause })
		return a
	}), nil
}

func (f *fakeData) Failures(q url.Values) (api.Failures, error) {
	return locked(f, func() (a api.Failures) {
		a.Failures, a.Page = pageOf(f.failures, q, func(one api.Failure) string { return one.App })
		return a
	}), nil
}

func (f *fakeData) Deployments(q url.Values) (api.Deployments, error) {
	return locked(f, func() (a api.Deployments) {
		a.Deployments, a.Page = pageOf(f.deployments, q, func(one api.Deployment) string { return one.Group })
		return a
	}), nil
}

func (f *fakeData) Probes(q url.Values) (api.Probes, error) {
	return locked(f, func() (a api.Probes) {
		if f.status.Probes == nil {
			return a
		}
		a.Place, a.Failing = f.status.Probes.Place, f.status.Probes.Failing
		if len(f.probes) > 0 {
			a.OK, a.Skipped = 1, 1
		}
		a.Probes, a.Page = pageOf(f.probes, q, func(one api.Probe) string { return one.ID })
		return a
	}), nil
}

func (f *fakeData) Deployment(group string) (api.Deployment, bool) {
	for _, d := range f.deployments {
		if d.Group == group {
			return d, true
		}
	}
	return api.Deployment{}, false
}

// events is an event stream of which a test says what it sends.
type events struct {
	mu      sync.Mutex
	readers map[chan string]context.CancelFunc
	refuse  bool
	opened  int
}

func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	reader := make(chan string, 100)
	e.mu.Lock()
	if e.refuse {
		e.mu.Unlock()
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	e.opened++
	if e.readers == nil {
		e.readers = make(map[chan string]context.CancelFunc)
	}
	e.readers[reader] = cancel
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.readers, reader)
		e.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": hello\n\n")
	flush := http.NewResponseController(w).Flush
	for _ = flush(); ; _ = flush() {
		select {
		case <-ctx.Done():
			return
		case name := <-reader:
			fmt.Fprintf(w, "event: %s\ndata: {}\n\n", name)
		}
	}
}

func (e *events) send(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for reader := range e.readers {
		reader <- name
	}
}

// away ends all streams and refuses new ones, until it is called with false.
func (e *events) away(is bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuse = is
	for _, cancel := range e.readers {
		if is {
			cancel()
		}
	}
}

// serve serves the pages until the test ends, and returns their address.
func serve(t testing.TB, data Data, e *events) string {
	t.Helper()
	mux := http.NewServeMux()
	New(data, "v1.2.3", slog.New(slog.NewTextHandler(t.Output(), nil))).Register(mux)
	mux.Handle("GET /api/v1/events", e)
	s := httptest.NewServer(mux)
	t.Cleanup(func() { e.away(true); s.CloseClientConnections(); s.Close() })
	return s.URL
}

func ptr[T any](v T) *T { return &v }

func load(requests, errors float64) *api.Load {
	return &api.Load{Requests: requests, Errors: errors, Requests10m: requests * .93, Errors10m: errors / 2, InProgress: int(requests / 20)}
}

// lastHour makes up a series of an hour.
func lastHour(now time.Time, errors float64) *api.Series {
	s := &api.Series{Start: now.Add(-time.Hour).Truncate(10 * time.Second), Step: 10}
	for i := range 360 {
		x := float64(i)
		wave := 820 + 240*math.Sin(x/38) + 60*math.Sin(x/3.1) + 35*math.Sin(x*1.7)
		burst := 0.0
		if i > 320 {
			burst = errors * (1 - math.Exp(-(x-320)/8)) * (1 + .2*math.Sin(x))
		}
		s.Requests, s.Errors, s.Failures = append(s.Requests, api.Value(wave)), append(s.Errors, api.Value(burst+.5)), append(s.Failures, api.Value(burst*.7))
		changes := math.Max(0, math.Round(1.4*math.Sin(x/9)+math.Sin(x*2.3)))
		s.Changes = append(s.Changes, api.Value(changes))
		if changes == 0 && i%5 > 0 {
			s.P50, s.P99 = append(s.P50, api.Unknown()), append(s.P99, api.Unknown())
			continue
		}
		s.P50, s.P99 = append(s.P50, api.Value(.031+.006*math.Sin(x/20))), append(s.P99, api.Value(.11+.05*math.Sin(x/7)+burst/400))
	}
	return s
}
