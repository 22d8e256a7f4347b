// Package page is the status page: what the API answers, as HTML. It is complete without
// scripts; the one script reads the same pages again when something happens, and puts what
// differs in place.
package page

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"relay/admin/api"
)

// Data answers what the API answers, so that page and API never differ. A query has the
// parameters of the API. Answers are not modified afterwards, and hold no secret. An error
// says what is wrong with the query.
type Data interface {
	Status() *api.Status
	Apps(url.Values) (api.Apps, error)
	App(id string) (api.AppStory, bool)
	Domains(url.Values) (api.Domains, error)
	Domain(name string) (api.DomainStory, bool)
	Envoys(url.Values) (api.Envoys, error)
	Envoy(fleet, id string) (api.EnvoyStory, bool)
	Certificates(url.Values) (api.Certificates, error)
	Certificate(name string) (api.CertificateStory, bool)
	Authorities(url.Values) (api.Authorities, error)
	Uncovered() api.Uncovered
	Problems(url.Values) (api.Problems, error)
	Changes(url.Values) (api.Changes, error)
	Failures(url.Values) (api.Failures, error)
	Deployments(url.Values) (api.Deployments, error)
	Deployment(group string) (api.Deployment, bool)
	// Probes have no place where nothing is asked from outside.
	Probes(url.Values) (api.Probes, error)
}

// Pages serves the status page.
type Pages struct {
	data    Data
	log     *slog.Logger
	version string
	shared  shared
	slow    keptSlow
}

// New returns the pages for data. The version is Relay's.
func New(data Data, version string, log *slog.Logger) *Pages {
	return &Pages{data: data, log: log, version: version}
}

// policy lets a page load what is served beside it, and nothing else: no script of an app's
// label can run, even if the label got into a page as it is.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Register adds the pages to a mux.
func (p *Pages) Register(mux *http.ServeMux) {
	for pattern, view := range map[string]func(*http.Request) (view, error){
		"/{$}":                    p.first,
		"/apps":                   p.apps,
		"/apps/{id...}":           p.app,
		"/domains":                p.domains,
		"/domains/{name}":         p.domain,
		"/uncovered":              p.uncovered,
		"/envoys":                 p.envoys,
		"/envoys/{fleet}/{id...}": p.envoy,
		"/certificates":           p.certificates,
		"/certificates/{name...}": p.certificate,
		"/authorities":            p.authorities,
		"/problems":               p.problems,
		"/changes":                p.changes,
		"/failures":               p.failures,
		"/deployments":            p.deployments,
		"/deployments/{group...}": p.deployment,
		"/probes":                 p.probes,
		"/search":                 p.search,
	} {
		mux.Handle("GET "+pattern, p.handler(view))
	}
	mux.HandleFunc("GET /static/{file}", serveStatic)
}

// view is a page to be rendered.
type view struct {
	// Name is that of the template, Title what the window is called.
	Name, Title string
	// Nav is the entry of the navigation that the page is below.
	Nav string
	// Every is how many milliseconds the script waits at least before it reads the page again.
	Every int
	// Missing is set where the address names something that is not there.
	Missing bool
	Body    any

	Version, URL string
	Query        string // of the search
	Now          time.Time
	Status       *api.Status
}

// How often an open page is read again, if something happens. Lists may cost a look at all apps.
const (
	soon  = 2000
	later = 5000
	// latest is how often at least, and restFor how much longer than it took to put a page together
	// the page rests: so that one which costs a look at all apps takes a hundredth of a core.
	latest, restFor = 15_000, 100
)

// every is how long an open page rests that took so long to put together, in milliseconds.
func every(least int, took time.Duration) int {
	return max(least, min(int(restFor*took/time.Millisecond), latest))
}

// errQuery is an error of whoever asks.
var errQuery = errors.New("the address is not understood")

func (p *Pages) handler(make func(*http.Request) (view, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		body, status, err := p.shared.get(r.URL.RequestURI(), func() ([]byte, int, error) { return p.render(r, make) })
		switch {
		case errors.Is(err, errQuery):
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		case err != nil:
			p.log.Error("admin: render a page", "event", "page_failed", "path", r.URL.Path, "error", err)
			http.Error(w, "cannot render the page", http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client may be gone
	})
}

func (p *Pages) render(r *http.Request, make func(*http.Request) (view, error)) (body []byte, status int, err error) {
	start := time.Now()
	v, err := make(r)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errQuery, err)
	}
	v.Every = every(v.Every, time.Since(start))
	status = http.StatusOK
	if v.Missing {
		status = http.StatusNotFound
	}
	v.Version, v.URL, v.Now, v.Status = p.version, r.URL.RequestURI(), time.Now(), p.data.Status()
	v.Query = strings.TrimSpace(r.URL.Query().Get("q"))
	var buf bytes.Buffer
	if err := templates.ExecuteTemplate(&buf, v.Name, v); err != nil {
		return nil, 0, err
	}
	return visible(buf.Bytes()), status, nil
}

//go:embed templates
var templateFiles embed.FS

var templates = parseTemplates()

// roles make a table one for screen readers even where a narrow window shows its rows as
// blocks, which takes the meaning from the elements.
var roles = strings.NewReplacer(
	"<table", `<table role="table"`, "<thead>", `<thead role="rowgroup">`, "<tbody>", `<tbody role="rowgroup">`,
	"<tr", `<tr role="row"`, "<td", `<td role="cell"`,
	`<th scope="col"`, `<th role="columnheader" scope="col"`, `<th scope="row"`, `<th role="rowheader" scope="row"`,
)

func parseTemplates() *template.Template {
	t := template.New("").Funcs(functions)
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		text, err := templateFiles.ReadFile("templates/" + e.Name())
		if err != nil {
			panic(err)
		}
		template.Must(t.Parse(roles.Replace(string(text))))
	}
	return t
}

// visible writes characters that cannot be seen, or that turn the text around them, as their
// number: a label with one would look like another. The page's own text has none.
func visible(body []byte) []byte {
	var out []byte
	done := 0
	for i := 0; i < len(body); i++ {
		if body[i] < 0xc2 && !isControl(body[i]) {
			continue
		}
		r, size := decode(body[i:])
		if hidden(r) {
			out = append(out, body[done:i]...)
			out = fmt.Appendf(out, "\\u%04x", r)
			done = i + size
		}
		i += size - 1
	}
	if out == nil {
		return body
	}
	return append(out, body[done:]...)
}
