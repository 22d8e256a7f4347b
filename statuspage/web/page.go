package web

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/panics"
	"relay/statuspage"
)

// Source has what is to be shown. A statuspage.Monitor is one.
type Source interface {
	// View may be shared: nobody modifies it.
	View() statuspage.View
	// Changed is closed when the View changes the next time in something besides its Time.
	Changed() <-chan struct{}
}

// Config is what a Page needs.
type Config struct {
	Source Source
	Log    *slog.Logger
	// Registerer gets the metrics; nil gets none.
	Registerer prometheus.Registerer
	// Dir is a folder for static files, which has to be there; empty for none.
	Dir string
	// Limits are those of Listen; DefaultLimits if it is the zero value.
	Limits Limits
}

// Page keeps the files of a status page up to date: for those who ask by HTTP, and in a folder.
type Page struct {
	cfg     Config
	content atomic.Pointer[Content]
	dir     *Dir // nil if there is none
	metrics metrics
	begun   time.Time
	// says tells that the view which was rendered last knows how a service is.
	says atomic.Bool
	// wrote tells that files of this run are there.
	wrote bool
	// toDir is write, but in a test.
	toDir func()
}

// keepOld is how long files of a run before stay while nothing is known yet: a restart is no news to the public.
const keepOld = time.Minute

// pause is between two renderings at least, however often the view changes.
const pause = time.Second

// renew is how often the page is rendered if nothing changes but its time.
const renew = 15 * time.Second

// New returns a Page that shows the view as it is now. Run keeps it up to date.
func New(cfg Config) *Page {
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits()
	}
	p := &Page{cfg: cfg, metrics: newMetrics(cfg.Registerer), begun: time.Now()}
	if cfg.Dir != "" {
		p.dir = NewDir(cfg.Dir)
	}
	p.toDir = p.write
	p.content.Store(new(Content))
	p.render()
	return p
}

// Refresh shows the view as it is now, without waiting for Run.
func (p *Page) Refresh() { p.render() }

// Run renders the page when the view changes, and writes the files if there is a folder for them, until the context
// ends. Whoever asks meanwhile gets what was rendered last.
func (p *Page) Run(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	writes := make(chan struct{}, 1)
	writing.Go(func() { p.writeWhen(ctx, writes) })
	for {
		changed := p.cfg.Source.Changed()
		p.render()
		select {
		case writes <- struct{}{}:
		default: // they are to be written already
		}
		if !wait(ctx, time.After(pause), nil) || !wait(ctx, time.After(renew), changed) {
			return nil
		}
	}
}

// writeWhen writes the files each time that it is to, until the context ends. A disk that hangs, as one of another machine may,
// costs the files alone.
func (p *Page) writeWhen(ctx context.Context, writes <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-writes:
			if err := panics.Catch(func() error { p.toDir(); return nil }); err != nil {
				panics.Log(p.cfg.Log, err, "part", "status page")
			}
		}
	}
}

// wait waits for one of two, and reports whether the context goes on.
func wait(ctx context.Context, timer <-chan time.Time, changed <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-timer:
	case <-changed:
	}
	return true
}

// render makes the content anew. A view that cannot be rendered costs itself: the last page stays.
func (p *Page) render() {
	err := panics.Catch(func() error {
		view := p.cfg.Source.View()
		content, err := Render(view, *p.content.Load())
		if err == nil {
			p.says.Store(worst(view.Services) != statuspage.Unknown)
			p.content.Store(&content)
		}
		return err
	})
	if err != nil && !panics.Log(p.cfg.Log, err, "part", "status page") {
		p.cfg.Log.Error("the public status page cannot be rendered: the last one stays", "event", "status_page_failed", "error", err)
	}
}

// write brings the folder up to date. What is wrong with it is said once.
func (p *Page) write() {
	if p.dir == nil || !p.wrote && !p.says.Load() && time.Since(p.begun) < keepOld && p.dir.HasPage() {
		return
	}
	before := p.dir.Trouble()
	err := p.dir.Write(*p.content.Load())
	switch {
	case err != nil:
		p.metrics.failures.Inc()
		if err.Error() != before {
			p.cfg.Log.Warn("the files of the public status page cannot be written: those that are there stay, and it is tried again", "event", "status_page_files_failed", "dir", p.cfg.Dir, "reason", err)
		}
	default:
		p.wrote = true
		p.metrics.written.SetToCurrentTime()
		if before != "" {
			p.cfg.Log.Info("the files of the public status page are written again", "event", "status_page_files_written", "dir", p.cfg.Dir)
		}
	}
}

// Trouble says why the files cannot be written; empty if they can.
func (p *Page) Trouble() string {
	if p.dir == nil {
		return ""
	}
	return p.dir.Trouble()
}

type metrics struct {
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	failures prometheus.Counter
	written  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) metrics {
	f := promauto.With(r)
	m := metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "relay_status_page_requests_total", Help: "Requests to the public status page, by status."}, []string{"status"}),
		refused:  f.NewCounterVec(prometheus.CounterOpts{Name: "relay_status_page_refused_total", Help: "Connections that the public status page refused or closed, by reason."}, []string{"reason"}),
		failures: f.NewCounter(prometheus.CounterOpts{Name: "relay_status_page_write_failures_total", Help: "How often the files of the public status page could not be written."}),
		written:  f.NewGauge(prometheus.GaugeOpts{Name: "relay_status_page_written_timestamp_seconds", Help: "When the files of the public status page were written or found to be up to date last, in Unix time."}),
	}
	for _, status := range statuses {
		m.requests.WithLabelValues(status)
	}
	return m
}
