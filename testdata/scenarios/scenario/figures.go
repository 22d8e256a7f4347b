package scenario

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"relay/sources/marathon/marathontest"
)

// Figures are what servers and clients count.
type Figures struct {
	mu      sync.Mutex
	servers map[string]*Server // by task
	named   map[string]int     // how many of an app have a name
	counted map[string]bool    // the apps whose servers count connections
	// since the last row
	took   []time.Duration
	failed int
	// from the beginning
	closed, refused int
}

// Counts are totals from the beginning.
type Counts struct{ Closed, Refused int }

// Server counts the connections of a server.
type Server struct {
	// Name is short: that of the app and a number.
	Name string

	figures *Figures
	task    string
	app     string
	open    int
	most    int
}

// NewFigures returns figures in which nothing was counted.
func NewFigures() *Figures {
	return &Figures{servers: make(map[string]*Server), named: make(map[string]int), counted: make(map[string]bool)}
}

// Server is that of a process. It is not shown any more when the process has left.
func (f *Figures) Server(p *marathontest.Process) *Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named[p.App]++
	s := &Server{Name: path.Base(p.App) + "-" + strconv.Itoa(f.named[p.App]), figures: f, task: p.Task, app: p.App}
	f.servers[p.Task] = s
	return s
}

// Named is the name of the server of a task.
func (f *Figures) Named(task string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.servers[task]; s != nil {
		return s.Name
	}
	return ""
}

// Left takes the server out of the figures.
func (s *Server) Left() {
	s.figures.mu.Lock()
	defer s.figures.mu.Unlock()
	delete(s.figures.servers, s.task)
}

// Opened counts a connection until the returned func is called.
func (s *Server) Opened() (closed func()) {
	s.figures.mu.Lock()
	s.open++
	s.most = max(s.most, s.open)
	s.figures.counted[s.app] = true
	s.figures.mu.Unlock()
	return sync.OnceFunc(func() {
		s.figures.mu.Lock()
		defer s.figures.mu.Unlock()
		s.open--
	})
}

// Request counts a request of a client.
func (f *Figures) Request(took time.Duration, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed++
		return
	}
	f.took = append(f.took, took)
}

// Closed counts a connection that ended though its client did not end it.
func (f *Figures) Closed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
}

// Refused counts a client that was not let in.
func (f *Figures) Refused() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused++
}

// Counts returns what was counted so far.
func (f *Figures) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Counts{f.closed, f.refused}
}

// Open is how many connections each server of an app has, by its task.
func (f *Figures) Open(app string) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := make(map[string]int)
	for task, s := range f.servers {
		if s.app == app {
			open[task] = s.open
		}
	}
	return open
}

// Most is the most connections that any server of an app has had at a time, of those that run.
func (f *Figures) Most(app string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := 0
	for _, s := range f.servers {
		if s.app == app {
			most = max(most, s.most)
		}
	}
	return most
}

const header = "  time     requests/s     p50 ms     p99 ms  failed  closed  refused  connections of each server"

// mostShown is how many servers a row names.
const mostShown = 8

// row is a line of the table, about the time since the one before. Servers of an app that counts no connections
// are left out: 0 would look as if nobody came to them.
func (f *Figures) row(now time.Time, since time.Duration) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.took)
	var servers []string
	var more, openThere int
	for _, s := range slices.SortedFunc(maps.Values(f.servers), func(a, b *Server) int { return compareNames(a.Name, b.Name) }) {
		if !f.counted[s.app] {
			continue
		}
		if len(servers) == mostShown {
			more, openThere = more+1, openThere+s.open
			continue
		}
		servers = append(servers, fmt.Sprintf("%s %d", s.Name, s.open))
	}
	if more > 0 {
		servers = append(servers, fmt.Sprintf("%d more %d", more, openThere))
	}
	line := fmt.Sprintf("%s %12.0f %10s %10s %7d %7d %8d  %s", now.Format(time.TimeOnly), float64(len(f.took))/since.Seconds(),
		quantile(f.took, 0.5), quantile(f.took, 0.99), f.failed, f.closed, f.refused, strings.Join(servers, ", "))
	f.took, f.failed = nil, 0
	return line
}

// compareNames orders web-9 before web-10.
func compareNames(a, b string) int {
	if d := len(a) - len(b); d != 0 && strings.TrimRight(a, "0123456789") == strings.TrimRight(b, "0123456789") {
		return d
	}
	return strings.Compare(a, b)
}

func quantile(sorted []time.Duration, q float64) string {
	if len(sorted) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", Quantile(sorted, q).Seconds()*1000)
}

// Quantile is the value below which so large a part of sorted durations is.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
