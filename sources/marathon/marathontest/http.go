package marathontest

import (
	"compress/gzip"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// ServeHTTP is the whole HTTP interface.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(nil, w, r) }

// serve is the HTTP interface of one process of the cluster; nil is the first.
func (s *Server) serve(at *Master, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if closed {
		panic(http.ErrAbortHandler)
	}
	defer s.wg.Done()
	kinds := kindsOf(r)
	defer s.requests.enter(kinds)()
	w, answered := s.applyFault(w, r, kinds)
	if answered {
		return
	}
	s.faults.mu.Lock()
	credentials := s.opts.Credentials
	if s.faults.credentials != nil {
		credentials = *s.faults.credentials
	}
	s.faults.mu.Unlock()
	if !s.authorized(r, credentials) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Mesosphere"`)
		writeJSON(w, http.StatusUnauthorized, message("Invalid username or password."))
		return
	}
	self := s.addr
	if at != nil {
		self = at.addr
	}
	if leader := s.leaderFor(at); leader != "" {
		s.serveStandby(w, r, self, leader)
		return
	}
	if r.URL.Path == "/v2/events" {
		if t, ok := w.(*truncated); ok {
			w = t.ResponseWriter
		}
		s.serveEvents(w, r)
		return
	}
	w.Header().Set("X-Marathon-Leader", s.urlOf(self))
	w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		z := newGzip(w)
		defer z.close()
		w = z
	}
	s.route(w, r, self)
}

func (s *Server) authorized(r *http.Request, credentials string) bool {
	if s.opts.Authorized != nil {
		return s.opts.Authorized(r.Header.Get("Authorization"))
	}
	if credentials == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(credentials)) == 1
}

func (s *Server) serveStandby(w http.ResponseWriter, r *http.Request, self, leader string) {
	if r.URL.Path == "/v2/events" && !s.opts.Quirks.ProxyEvents {
		w.Header().Set("Location", leader+r.URL.RequestURI())
		w.WriteHeader(http.StatusFound)
		return
	}
	target, err := url.Parse(leader)
	if err != nil {
		writeJSON(w, http.StatusBadGateway, message("Could not determine the current leader"))
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		ModifyResponse: func(answer *http.Response) error {
			answer.Header.Set("Via", "1.1 "+self)
			answer.Header.Set("X-Marathon-Leader", leader)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			writeJSON(w, http.StatusBadGateway, message("Could not determine the current leader"))
		},
	}
	proxy.ServeHTTP(w, r)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request, self string) {
	path := r.URL.Path
	rest, isApps := strings.CutPrefix(path, "/v2/apps")
	pod, isPods := strings.CutPrefix(path, "/v2/pods")
	switch {
	case isPods && (pod == "" || pod[0] == '/'):
		s.servePods(w, r, pod)
	case isApps && (rest == "" || rest == "/"):
		s.serveApps(w, r)
	case isApps && rest[0] == '/':
		s.serveApp(w, r, strings.Trim(rest, "/"))
	case path == "/v2/tasks/delete" && r.Method == http.MethodPost:
		s.serveKill(w, r)
	case path == "/v2/deployments":
		s.serveDeployments(w)
	case strings.HasPrefix(path, "/v2/deployments/") && r.Method == http.MethodDelete:
		s.serveRollback(w, r, strings.TrimPrefix(path, "/v2/deployments/"))
	case path == "/v2/leader":
		writeJSON(w, http.StatusOK, map[string]string{"leader": self})
	case path == "/v2/info":
		s.serveInfo(w, self)
	case path == "/ping":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("pong"))
	default:
		writeJSON(w, http.StatusInternalServerError, message("URI not found"))
	}
}

func (s *Server) serveInfo(w http.ResponseWriter, self string) {
	features := []string{"task_killing"}
	if s.opts.NoTaskKilling {
		features = []string{}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name": "marathon", "version": defaultTo(s.opts.Version, "1.8.222"), "buildref": "unknown", "elected": true, "leader": self,
		"frameworkId":      "00000000-0000-0000-0000-000000000001-0000",
		"marathon_config":  map[string]any{"features": features},
		"http_config":      map[string]any{},
		"zookeeper_config": map[string]any{},
	})
}

func message(text string) map[string]any { return map[string]any{"message": text} }

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own types come here
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// compressed writes gzip.
type compressed struct {
	http.ResponseWriter
	z *gzip.Writer
}

func newGzip(w http.ResponseWriter) *compressed {
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	return &compressed{w, z}
}

func (c *compressed) Write(b []byte) (int, error) { return c.z.Write(b) }

func (c *compressed) close() { _ = c.z.Close() }
