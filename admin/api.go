package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
	"relay/scaling/peers"
)

// route is a path of the API: what the server answers, and what the OpenAPI document says of it.
type route struct {
	// Method is GET where it is empty. What another one changes says the summary.
	Method        string
	Path, Summary string
	Params        []parameter
	// Examples are values of the parts of the path, by their names.
	Examples map[string]string
	// Answer is a value of the type that is answered.
	Answer any
	get    func(*http.Request, query) (any, error)
	// raw answers in place of get, if it is no plain value.
	raw func(http.ResponseWriter, *http.Request, query)
	// Missing tells that the answer may be 404.
	Missing bool
	// Stream is the type of an answer that goes on; empty for JSON.
	Stream string
}

// The parameters that several paths have.
var (
	textParam   = parameter{Name: "q", Text: "Only those with this text in the name, in capital letters or not."}
	fleetParam  = parameter{Name: "fleet", Text: "Only those of this fleet."}
	appParam    = parameter{Name: "app", Text: "Only those of the app with this id.", Length: maxSubject}
	limitParam  = parameter{Name: "limit", Text: "How many are on the page.", Max: api.MaxLimit, Default: api.DefaultLimit}
	cursorParam = parameter{Name: "cursor", Text: "The next of the page before.", Length: maxCursor}
)

// sortParam says what a list may be sorted by; the first is the default.
func sortParam(by ...string) parameter {
	return parameter{Name: "sort", Text: "What the list is sorted by: numbers and times the largest first.", Values: by}
}

// table has all paths of the API.
func (s *Server) table() []route {
	return slices.Concat([]route{
		{Path: "/api/v1/status", Summary: "Whether all is well", Answer: api.Status{}, raw: s.status},
		{Path: "/api/v1/apps", Summary: "The apps, with what people search and sort them by", Answer: api.Apps{}, get: s.apps,
			Params: []parameter{textParam, sortParam("id", "requests", "errors", "failures", "changed"), fleetParam, phaseParam, limitParam, cursorParam}},
		{Path: "/api/v1/apps/{id...}", Summary: "One app, by its id without the first slash", Answer: api.AppStory{}, get: s.app, Missing: true, Examples: map[string]string{"id": "shop/web"}},
		{Path: "/api/v1/domains", Summary: "The domains that apps name", Answer: api.Domains{}, get: s.domains,
			Params: []parameter{textParam, sortParam("name", "requests", "errors", "failures"), fleetParam, domainStatusParam, limitParam, cursorParam}},
		{Path: "/api/v1/domains/{name}", Summary: "One domain, and why it is routed as it is", Answer: api.DomainStory{}, get: s.domain, Missing: true, Examples: map[string]string{"name": "shop.test"}},
		{Path: "/api/v1/envoys", Summary: "The Envoys, and how far they are", Answer: api.Envoys{}, get: s.envoys,
			Params: []parameter{textParam, fleetParam, envoyStateParam, limitParam, cursorParam}},
		{Path: "/api/v1/envoys/{fleet}/{id...}", Summary: "One Envoy, by its fleet and node id", Answer: api.EnvoyStory{}, get: s.envoy, Missing: true, Examples: map[string]string{"fleet": "external", "id": "edge-1"}},
		{Path: "/api/v1/certificates", Summary: "The certificates, used or not", Answer: api.Certificates{}, get: s.certificates,
			Params: []parameter{textParam, sortParam("name", "days"), limitParam, cursorParam}},
		{Path: "/api/v1/certificates/{name...}", Summary: "One certificate, by its source and name", Answer: api.CertificateStory{}, get: s.certificate, Missing: true, Examples: map[string]string{"name": "vault/shop.test"}},
		{Path: "/api/v1/authorities", Summary: "The authorities of clients, used or not", Answer: api.Authorities{}, get: s.authorities,
			Params: []parameter{textParam, limitParam, cursorParam}},
	}, s.probeRoutes(), s.deploymentRoutes(), s.incidentRoutes(), s.otherRoutes(), s.dumpRoutes())
}

func (s *Server) otherRoutes() []route {
	return []route{
		{Path: "/api/v1/problems", Summary: "What is ignored or does not work, the worst first", Answer: api.Problems{}, get: s.problemsJSON,
			Params: []parameter{kindParam, severityParam, appParam, limitParam, cursorParam}},
		{Path: "/api/v1/wakes", Summary: "The apps for which requests wait until they have started", Answer: api.Wakes{}, get: s.wakes, Params: []parameter{limitParam, cursorParam}},
		{Path: "/api/v1/fleets", Summary: "The fleets, with what their Envoys have", Answer: api.Fleets{}, get: s.fleetsJSON},
		{Path: "/api/v1/sources", Summary: "The sources of apps and certificates", Answer: api.Sources{}, get: s.sourcesJSON},
		{Path: "/api/v1/uncovered", Summary: "The domains without a certificate", Answer: api.Uncovered{}, get: s.uncovered},
		{Path: "/api/v1/changes", Summary: "What was published, and why, the newest first", Answer: api.Changes{}, get: s.changes,
			Params: []parameter{appParam, {Name: "certificate", Text: "Only those of this certificate.", Length: maxSubject}, textParam, limitParam, cursorParam}},
		{Path: "/api/v1/failures", Summary: "Requests that Envoys answered themselves, the newest first", Answer: api.Failures{}, get: s.failures,
			Params: []parameter{
				appParam, {Name: "domain", Text: "Only those of this domain."}, fleetParam, {Name: "envoy", Text: "Only those of the Envoy with this node id."},
				{Name: "code", Text: "Only those with this code."}, limitParam, cursorParam,
			}},
		{Path: "/api/v1/peer", Summary: "What this Relay knows of the use of apps, for the other Relays of the same Envoys", Answer: peers.Answer{}, get: s.peer, Missing: true, Params: peerParams},
		{Path: "/api/v1/openapi.json", Summary: "This document", Answer: map[string]any{}, raw: openapi},
		{Path: tailPath, Summary: "The requests of an app or domain as they end, one a line, and notices of how it goes", raw: s.tail, Missing: true, Stream: "application/x-ndjson",
			Params: []parameter{
				{Name: "subject", Text: "The id of an app, a domain, or a host below a wildcard domain.", Length: maxSubject, Required: true},
				{Name: "unmasked", Text: "Whether query strings, and what looks like a token, are shown.", Values: []string{"false", "true"}},
			}},
		{Path: eventsPath, Summary: "What happens from now on, as server-sent events: status, change, failure, problem", raw: s.events, Stream: "text/event-stream"},
		{Path: "/api/v1/explain", Summary: "Why a domain, an app or a TCP port is routed as it is", Answer: explain.Explanation{}, raw: s.explain, Missing: true,
			Params: []parameter{{Name: "subject", Text: "What to explain: a domain, the id of an app, or tcp/ and a port.", Length: maxSubject, Required: true}}},
	}
}

var (
	phaseParam        = parameter{Name: "phase", Text: "Only those that Relay may scale and that are in this phase.", Values: append([]string{""}, api.Phases()...)}
	domainStatusParam = parameter{Name: "status", Text: "Only those of which this is so.", Values: []string{
		"", string(api.DomainServed), string(api.DomainWithoutTask), string(api.DomainStopped), string(api.DomainAsleep), string(api.DomainWithoutCertificate), string(api.DomainInNoFleet),
	}}
	envoyStateParam = parameter{Name: "state", Text: "Only those in this state.", Values: []string{
		"", string(api.EnvoyUpToDate), string(api.EnvoyBehind), string(api.EnvoyRejecting), string(api.EnvoyDisconnected),
	}}
	severityParam = parameter{Name: "severity", Text: "Only those of this severity.", Values: []string{
		"", string(problem.Failing), string(problem.Ignored), string(problem.Advice),
	}}
	kindParam = parameter{Name: "kind", Text: "Only those of this kind: of what has them.", Values: []string{
		"", string(problem.App), string(problem.Certificate), string(problem.Envoy), string(problem.Fleet), string(problem.Source),
	}}
)

// api adds routes of the API.
func (s *Server) api(mux *http.ServeMux, routes []route) {
	var paths []string
	for _, route := range routes {
		mux.HandleFunc(cmp.Or(route.Method, http.MethodGet)+" "+route.Path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, route) })
		if route.Method == http.MethodPost { // others would be answered by what is at /api
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
				mux.HandleFunc(method+" "+route.Path, onlyPost)
			}
		}
		paths = append(paths, strings.TrimPrefix(route.Path, "/api/v1/"))
	}
	// Without its own pattern /api would be answered by a redirect.
	for _, rest := range []string{"GET /api", "GET /api/"} {
		mux.HandleFunc(rest, func(w http.ResponseWriter, r *http.Request) {
			s.notFound(w, fmt.Sprintf("nothing at %.200s: below /api/v1/ there are %s", r.URL.Path, strings.Join(paths, ", ")))
		})
	}
}

func onlyPost(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", http.MethodPost)
	plain(w, http.StatusMethodNotAllowed, "only by POST")
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, route route) {
	q, err := readQuery(r, route.Params)
	if err != nil {
		s.fail(w, err)
		return
	}
	if route.raw != nil {
		route.raw(w, r, q)
		return
	}
	v, err := route.get(r, q)
	if err != nil {
		s.fail(w, err)
		return
	}
	body, err := encode(v)
	if err != nil {
		s.fail(w, err)
		return
	}
	newEncoded(body, body).send(w, r)
}

// orEmpty makes JSON show a list without items as [], not as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Server) sources() []SourceView {
	list := orEmpty(slices.Clone(s.cfg.Views.Sources()))
	for i := range list {
		list[i].Name = redact(list[i].Name)
		list[i].LastError = redact(list[i].LastError)
	}
	return list
}

func (s *Server) sourcesJSON(*http.Request, query) (any, error) {
	return api.Sources{Sources: sourcesOf(s.sources())}, nil
}

func sourcesOf(views []SourceView) []api.Source {
	all := make([]api.Source, len(views))
	for i, v := range views {
		all[i] = api.Source(v)
	}
	return all
}
