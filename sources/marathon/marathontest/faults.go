package marathontest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Kind is a kind of request, for faults and counters.
type Kind string

// The kinds. Each GET of an app is of KindApp and of ReadOf its id; so is one of
// the list with an id to look for.
const (
	KindList     Kind = "list"     // GET /v2/apps
	KindApp      Kind = "app"      // GET /v2/apps/{id}
	KindVersion  Kind = "version"  // GET /v2/apps/{id}/versions/{version}
	KindVersions Kind = "versions" // GET /v2/apps/{id}/versions
	KindGroup    Kind = "group"    // GET /v2/apps/{group}/*
	KindEvents   Kind = "events"   // /v2/events
	KindPods     Kind = "pods"     // GET /v2/pods, /v2/pods/::status
	KindPod      Kind = "pod"      // GET /v2/pods/{id}, /v2/pods/{id}::status
	KindWrite    Kind = "write"    // anything but GET and HEAD
	KindKill     Kind = "kill"     // POST /v2/tasks/delete; it is of KindWrite too
	KindOther    Kind = "other"    // the rest: leader, ping, info, deployments, tasks
)

// ReadOf is the Kind of GET /v2/apps/{id} for one app.
func ReadOf(id string) Kind { return Kind("app " + id) }

// VersionOf is the Kind of GET /v2/apps/{id}/versions/{version} for one version.
func VersionOf(id, version string) Kind { return Kind("version " + id + " " + version) }

// WriteOf is the Kind of PUT, PATCH and DELETE /v2/apps/{id} for one app. They are of KindWrite too.
func WriteOf(id string) Kind { return Kind("write " + id) }

func kindsOf(r *http.Request) []Kind {
	rest, isApps := strings.CutPrefix(r.URL.Path, "/v2/apps")
	switch rest = strings.Trim(rest, "/"); {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		switch {
		case r.URL.Path == "/v2/tasks/delete":
			return []Kind{KindWrite, KindKill}
		case isApps && rest != "":
			return []Kind{KindWrite, WriteOf("/" + rest)}
		}
		return []Kind{KindWrite}
	case r.URL.Path == "/v2/events":
		return []Kind{KindEvents}
	case strings.HasPrefix(r.URL.Path, "/v2/pods"):
		if strings.Trim(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v2/pods"), "::status"), "/") == "" {
			return []Kind{KindPods}
		}
		return []Kind{KindPod}
	case !isApps:
		return []Kind{KindOther}
	case rest == "" && r.URL.Query().Has("id"):
		return []Kind{KindApp, ReadOf(r.URL.Query().Get("id"))}
	case rest == "":
		return []Kind{KindList}
	case rest == "*" || strings.HasSuffix(rest, "/*"):
		return []Kind{KindGroup}
	}
	if id, what, item := splitAppPath(rest); what == "versions" && item != "" {
		return []Kind{KindVersion, VersionOf(id, item)}
	} else if what == "versions" {
		return []Kind{KindVersions}
	} else if what != "" {
		return []Kind{KindOther}
	}
	return []Kind{KindApp, ReadOf("/" + rest)}
}

// Fault is what goes wrong with requests of one Kind. Without Status, Body and
// Hang the true answer is given, late or truncated.
type Fault struct {
	// Delay passes before the request is looked at.
	Delay time.Duration
	// Status, if not 0, is answered in place of the truth, with Body.
	Status int
	// Body is answered in place of the truth, with status 200 unless Status is set.
	Body string
	// Truncate, if not 0, closes the connection after so many bytes of the
	// body (as sent: compressed, if it is).
	Truncate int
	// Hang gives no answer until the fault is removed or the client leaves;
	// what follows then is the true answer.
	Hang bool
	// Cut does what is asked, and then closes the connection in place of an answer.
	Cut bool
	// Before, when set, is called when the whole request is there, before it is looked at. It may call
	// the Server: that is how somebody changes an app between two requests of another.
	Before func()
	// Times limits the fault to so many requests; 0 means all.
	Times int
}

type injected struct {
	Fault
	kind Kind
	left int
}

type faults struct {
	mu          sync.Mutex
	list        []*injected
	changed     chan struct{} // closed and replaced when one is removed
	credentials *string
	leader      string
	elected     *Master // nil is the Server itself
}

// Inject makes requests of a kind fail. The newest fault that matches rules.
// It lasts until remove is called.
func (s *Server) Inject(kind Kind, fault Fault) (remove func()) {
	f := &injected{Fault: fault, kind: kind, left: fault.Times}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, f)
	return func() { s.faults.remove(func(other *injected) bool { return other == f }) }
}

// ClearFaults removes all that was injected.
func (s *Server) ClearFaults() { s.faults.remove(func(*injected) bool { return true }) }

func (fs *faults) remove(match func(*injected) bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var kept []*injected
	for _, f := range fs.list {
		if !match(f) {
			kept = append(kept, f)
		}
	}
	fs.list = kept
	close(fs.changed)
	fs.changed = make(chan struct{})
}

// take returns the fault that applies to a request, and a channel that is
// closed when faults are removed.
func (fs *faults) take(kinds []Kind) (Fault, *injected, <-chan struct{}) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i := len(fs.list) - 1; i >= 0; i-- {
		f := fs.list[i]
		for _, k := range kinds {
			if f.kind != k || (f.Times > 0 && f.left == 0) {
				continue
			}
			f.left--
			return f.Fault, f, fs.changed
		}
	}
	return Fault{}, nil, nil
}

func (fs *faults) active(f *injected) (bool, <-chan struct{}) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, other := range fs.list {
		if other == f {
			return true, fs.changed
		}
	}
	return false, nil
}

// SetStandby makes the Server a standby of the leader at that base URL: it
// answers /v2/events with 302 and passes all else on. "" makes it leader again.
func (s *Server) SetStandby(leader string) {
	s.faults.mu.Lock()
	s.faults.leader = strings.TrimSuffix(leader, "/")
	s.faults.mu.Unlock()
	if leader != "" {
		s.bus.cut()
	}
}

// SetCredentials replaces Options.Credentials; "" lets everyone in.
func (s *Server) SetCredentials(credentials string) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.credentials = &credentials
}

// applyFault reports whether the request is answered. The writer it returns is
// to be used otherwise.
func (s *Server) applyFault(w http.ResponseWriter, r *http.Request, kinds []Kind) (http.ResponseWriter, bool) {
	fault, inj, changed := s.faults.take(kinds)
	if inj == nil {
		return w, false
	}
	// Only then the server sees that a client leaves. Before may end the client: what it had sent counts.
	if (fault.Delay > 0 || fault.Hang || fault.Before != nil) && r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if fault.Before != nil {
		fault.Before()
	}
	if fault.Delay > 0 && !sleep(r.Context(), fault.Delay) {
		return w, true
	}
	for active := fault.Hang; active; {
		select {
		case <-changed:
			active, changed = s.faults.active(inj)
		case <-r.Context().Done():
			return w, true
		case <-s.ctx.Done():
			return w, true
		}
	}
	if fault.Cut {
		w = &unanswered{header: http.Header{}}
	}
	if fault.Truncate > 0 {
		w = &truncated{ResponseWriter: w, left: fault.Truncate}
	}
	if fault.Status == 0 && fault.Body == "" {
		return w, false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(defaultTo(fault.Status, http.StatusOK))
	_, _ = w.Write([]byte(fault.Body))
	return w, true
}

// truncated closes the connection in the middle of a body.
type truncated struct {
	http.ResponseWriter
	left int
}

func (t *truncated) Write(b []byte) (int, error) {
	if len(b) < t.left {
		t.left -= len(b)
		return t.ResponseWriter.Write(b)
	}
	_, _ = t.ResponseWriter.Write(b[:t.left])
	_ = http.NewResponseController(t.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// unanswered is the answer to a request whose connection is cut when it is done.
type unanswered struct{ header http.Header }

func (u *unanswered) Header() http.Header       { return u.header }
func (u *unanswered) WriteHeader(int)           {}
func (u *unanswered) Write([]byte) (int, error) { panic(http.ErrAbortHandler) }

// requests counts requests by kind.
type requests struct {
	mu       sync.Mutex
	total    map[Kind]int
	inFlight map[Kind]int
	most     map[Kind]int
}

func (q *requests) enter(kinds []Kind) (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total == nil {
		q.total, q.most = map[Kind]int{}, map[Kind]int{}
	}
	if q.inFlight == nil {
		q.inFlight = map[Kind]int{}
	}
	for _, k := range kinds {
		q.total[k]++
		q.inFlight[k]++
		q.most[k] = max(q.most[k], q.inFlight[k])
	}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, k := range kinds {
			q.inFlight[k]--
		}
	}
}

// Requests returns how many requests of a kind have arrived since the start or
// ResetRequests, faults included.
func (s *Server) Requests(kind Kind) int {
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	return s.requests.total[kind]
}

// MostInFlight returns how many requests of a kind were open at the same time.
func (s *Server) MostInFlight(kind Kind) int {
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	return s.requests.most[kind]
}

// ResetRequests sets Requests and MostInFlight to 0.
func (s *Server) ResetRequests() {
	s.requests.mu.Lock()
	defer s.requests.mu.Unlock()
	s.requests.total, s.requests.most = nil, nil
}
