package statuspage

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin/api"
)

// Probes gives what a place found last: all probes, not a page of them. An error is that nothing is known now.
type Probes func(context.Context) (api.Probes, error)

// Config is what a Monitor needs.
type Config struct {
	Settings Settings
	// Dir is where history and incidents are kept; without it they are forgotten at the end.
	Dir string
	// Own are the probes of this process, which is a place too; nil if it has none.
	Own Probes
	Log *slog.Logger
	// Registerer gets the metrics; nil gets none.
	Registerer prometheus.Registerer
}

// ownPlace is how the probes of this process are called in the log and in metrics.
const ownPlace = "here"

// Monitor finds out how the services are, keeps their history and the incidents, and makes the View of it. Its methods may be
// called at any time, before Serve and after it too, from several goroutines.
type Monitor struct {
	cfg       Config
	names     []string // of the services
	selectors []selector
	places    []*place

	// saving is held while the file is used. It is taken before mu, so that a slow disk keeps nobody from the View.
	saving sync.Mutex
	// toDisk is write, but in a test.
	toDisk func() error
	store  *store
	loaded bool
	failed atomic.Int64 // how often it could not be saved

	mu        sync.Mutex
	tracks    []track
	records   map[string]*record // by service; also those of services that the page had before
	prior     map[string]record  // what the file said at the start
	incidents map[string]incident
	// changedServices and changedIncidents are not saved yet.
	changedServices, changedIncidents map[string]bool
	// began is when somebody looked first, looked when last.
	began, looked time.Time
	// unwatched is since when no place has a probe of a service, by service.
	unwatched []unwatched
	statuses  []placeStatus
	unsaved   string // why
	view      View
	changed   chan struct{}
}

// New returns a Monitor. It neither asks nor reads before Serve.
func New(cfg Config) *Monitor {
	m := &Monitor{
		cfg: cfg, changed: make(chan struct{}), tracks: make([]track, len(cfg.Settings.Services)), unwatched: make([]unwatched, len(cfg.Settings.Services)),
		records: make(map[string]*record), prior: make(map[string]record), incidents: make(map[string]incident),
		changedServices: make(map[string]bool), changedIncidents: make(map[string]bool),
	}
	m.toDisk = m.write
	for i, s := range cfg.Settings.Services {
		m.names = append(m.names, s.Name)
		m.selectors = append(m.selectors, newSelector(s))
		m.tracks[i].state = Unknown
		m.records[s.Name] = &record{State: Unknown}
	}
	if cfg.Own != nil {
		m.addPlace(ownPlace, ownReader(cfg.Own))
	}
	for _, p := range cfg.Settings.Places {
		m.addPlace(p.Name, remoteReader(p))
	}
	m.view = m.viewAt(time.Now())
	if cfg.Registerer != nil {
		m.register(cfg.Registerer)
	}
	return m
}

func (m *Monitor) addPlace(name string, read reader) {
	p := &place{name: name, read: read}
	p.told = func(list []api.Incident) { m.learn(name, list) }
	m.places = append(m.places, p)
	m.statuses = append(m.statuses, placeStatus{})
}

// View is what the page shows now. Nobody changes it any more: all may read it at the same time.
func (m *Monitor) View() View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

// Changed is closed when the View changes the next time in something besides its Time. Ask for it before the View.
func (m *Monitor) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

const (
	saveEvery = time.Minute
	// maxGap is how long after a look its finding is believed: when Relay stands still, or its machine sleeps, nobody
	// knows how the services are.
	maxGap = time.Minute
)

// Load reads what is kept, so that the View has it before Serve.
func (m *Monitor) Load() { _ = m.save() } // is logged

// Serve asks the places and looks until the context ends. A file that cannot be used is no reason to end: the page goes on
// without, and the file is tried again.
func (m *Monitor) Serve(ctx context.Context) error {
	m.Load()
	var asking sync.WaitGroup
	for _, p := range m.places {
		asking.Go(func() { p.run(ctx) })
	}
	defer m.close()
	defer asking.Wait()
	saves := make(chan struct{}, 1)
	asking.Go(func() { m.saveWhen(ctx, saves) })
	began, saved := time.Now(), time.Now()
	timer := time.NewTimer(nextLook(0))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			now := time.Now()
			changed := m.look(now)
			timer.Reset(nextLook(time.Since(began)))
			if changed || time.Since(saved) >= saveEvery {
				saved = now
				select {
				case saves <- struct{}{}:
				default: // it is to be saved already
				}
			}
		}
	}
}

// saveWhen saves each time that it is to, until the context ends. A disk that hangs keeps nobody from looking.
func (m *Monitor) saveWhen(ctx context.Context, saves <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-saves:
			_ = m.save() // is logged
		}
	}
}

// look judges what the places said last, and reports whether a state changed.
func (m *Monitor) look(now time.Time) bool {
	views := m.observe(now)
	services := m.cfg.Settings.Services
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began.IsZero() {
		m.began = now
	}
	found := judge(views, services, m.blindLately(now))
	if now.Sub(m.began) < settle {
		found.early(views)
	}
	m.tellPlaces(views, found, now)
	m.tellUnwatched(views, now)
	elapsed := now.Sub(m.looked) // by the clock that is never set back
	if m.looked.IsZero() || elapsed > maxGap {
		elapsed = 0
	}
	m.looked = now
	changed := false
	for i, s := range services {
		r := m.records[s.Name]
		if v := found.services[i]; v.state != Unknown || v.keep || r.State == Unknown { // else nothing is known of this time
			r.add(r.State, now.Add(-elapsed), now)
			r.Seen = now.UTC()
		}
		if m.tracks[i].next(found.services[i], now) {
			changed = true
			m.logState(s.Name, r.State, m.tracks[i].state, views, found.votes[i])
			r.take(m.tracks[i].state, now, m.prior[s.Name])
		}
		m.changedServices[s.Name] = true
	}
	m.forget(now)
	m.show(now)
	return changed
}

// observe counts what each place said last. What is one place under two names counts once.
func (m *Monitor) observe(now time.Time) []placeView {
	var views []placeView
	names := make(map[string]int)
	for i, p := range m.places {
		o, name, err := p.observe(now)
		twice := ""
		if first, seen := names[name]; name != "" && seen && !o.away {
			twice, o.away = m.places[first].name, true
		} else if !o.away {
			names[name] = i
		}
		views = append(views, look(o, m.cfg.Settings.Services, m.selectors))
		views[i].twice, views[i].err = twice, err
	}
	return views
}

// show makes the View anew.
func (m *Monitor) show(now time.Time) {
	next := m.viewAt(now)
	before := m.view
	before.Time = next.Time
	if !reflect.DeepEqual(before, next) {
		close(m.changed)
		m.changed = make(chan struct{})
	}
	m.view = next
}

func (m *Monitor) viewAt(now time.Time) View {
	now = now.UTC()
	v := View{Title: m.cfg.Settings.Title, URL: m.cfg.Settings.URL, Time: now, State: Up}
	for i, s := range m.cfg.Settings.Services {
		r := m.records[s.Name]
		shown := Service{Name: s.Name, Description: s.Description, Group: s.Group, State: m.tracks[i].state, Since: r.Since}
		shown.Days, shown.Uptime = r.days(now)
		v.Services = append(v.Services, shown)
		v.State = worst(v.State, shown.State)
	}
	for _, in := range m.incidents {
		shown := in.public(m.names, now)
		switch {
		case in.Maintenance && in.lasts(now):
			v.Maintenance = append(v.Maintenance, shown)
		case in.lasts(now) || now.Sub(in.end()) < shownIncidents:
			v.Incidents = append(v.Incidents, shown)
		}
	}
	slices.SortFunc(v.Incidents, func(a, b Incident) int { return compareIncidents(b, a) })
	slices.SortFunc(v.Maintenance, compareIncidents)
	return v
}

// worst of two states: one that is not known is worse than up alone.
func worst(a, b State) State {
	for _, s := range []State{Down, Degraded, Unknown} {
		if a == s || b == s {
			return s
		}
	}
	return Up
}

// take notes that a service is in another state since now; or since before, if it was so shortly before the restart.
func (r *record) take(s State, now time.Time, prior record) {
	fresh := r.State == Unknown
	r.State, r.Since = s, now.UTC().Truncate(time.Second)
	if fresh {
		r.resume(prior)
	}
}

// resumes is how long a restart may take without a state beginning anew.
const resumes = 10 * time.Minute

// holds is how long after it was seen last a state is shown again at a start, until something is found: it is saved each saveEvery.
const holds = 2 * saveEvery

func (r *record) resume(prior record) {
	if gap := r.Since.Sub(prior.Seen); r.State == prior.State && gap < resumes && gap > -resumes && prior.Since.Before(r.Since) {
		r.Since = prior.Since
	}
}
