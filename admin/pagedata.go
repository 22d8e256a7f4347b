package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"relay/admin/api"
)

// pageData answers the status page what the API answers, by the same functions.
type pageData struct {
	server *Server
	routes map[string]route // by path
}

func newPageData(s *Server) pageData {
	d := pageData{s, make(map[string]route)}
	for _, r := range s.table() {
		d.routes[r.Path] = r
	}
	return d
}

// ask returns the answer of a path. In names are the names and values of its wildcards.
func ask[T any](d pageData, path string, query url.Values, names ...string) (answer T, err error) {
	r := &http.Request{URL: &url.URL{RawQuery: query.Encode()}}
	for i := 0; i < len(names); i += 2 {
		r.SetPathValue(names[i], names[i+1])
	}
	route := d.routes[path]
	q, err := readQuery(r, route.Params)
	if err != nil {
		return answer, err
	}
	v, err := route.get(r, q)
	if err != nil {
		return answer, err
	}
	return v.(T), nil
}

// one is ask for one thing, which may not be there.
func one[T any](d pageData, path string, names ...string) (T, bool) {
	answer, err := ask[T](d, path, nil, names...)
	return answer, err == nil
}

// Status implements page.Data, as do the other methods.
func (d pageData) Status() *api.Status {
	status, _, err := d.server.currentStatus()
	if err != nil {
		d.server.cfg.Log.Error("admin: the status", "event", "answer_failed", "error", err)
		const text = "The status cannot be read"
		return &api.Status{Summary: text, Findings: []api.Finding{{Level: api.Critical, Text: text, Action: "see the log of Relay"}}}
	}
	return status
}

func (d pageData) Apps(q url.Values) (api.Apps, error) { return ask[api.Apps](d, "/api/v1/apps", q) }

func (d pageData) App(id string) (api.AppStory, bool) {
	return one[api.AppStory](d, "/api/v1/apps/{id...}", "id", id)
}

// Probes are none where nothing is asked from outside.
func (d pageData) Probes(q url.Values) (api.Probes, error) {
	found, err := ask[api.Probes](d, "/api/v1/probes", q)
	if _, missing := errors.AsType[unknown](err); missing {
		return api.Probes{}, nil
	}
	return found, err
}

func (d pageData) Domains(q url.Values) (api.Domains, error) {
	return ask[api.Domains](d, "/api/v1/domains", q)
}

// Domain returns of a domain that nobody names why that may be.
func (d pageData) Domain(name string) (api.DomainStory, bool) {
	story, ok := one[api.DomainStory](d, "/api/v1/domains/{name}", "name", name)
	if ok || len(name) > maxSubject {
		return story, ok
	}
	answer, _ := d.server.cfg.Views.Explain(name)
	if redacted, err := redactAll(answer); err == nil {
		story.Explanation, _ = json.Marshal(redacted) // was JSON before
	}
	return story, false
}

func (d pageData) Envoys(q url.Values) (api.Envoys, error) {
	return ask[api.Envoys](d, "/api/v1/envoys", q)
}

func (d pageData) Envoy(fleet, id string) (api.EnvoyStory, bool) {
	story, ok := one[*api.EnvoyStory](d, "/api/v1/envoys/{fleet}/{id...}", "fleet", fleet, "id", id)
	if !ok {
		return api.EnvoyStory{}, false
	}
	return *story, true
}

func (d pageData) Certificates(q url.Values) (api.Certificates, error) {
	return ask[api.Certificates](d, "/api/v1/certificates", q)
}

func (d pageData) Certificate(name string) (api.CertificateStory, bool) {
	return one[api.CertificateStory](d, "/api/v1/certificates/{name...}", "name", name)
}

func (d pageData) Authorities(q url.Values) (api.Authorities, error) {
	return ask[api.Authorities](d, "/api/v1/authorities", q)
}

func (d pageData) Uncovered() api.Uncovered {
	list, _ := one[api.Uncovered](d, "/api/v1/uncovered")
	return list
}

func (d pageData) Problems(q url.Values) (api.Problems, error) {
	return ask[api.Problems](d, "/api/v1/problems", q)
}

func (d pageData) Changes(q url.Values) (api.Changes, error) {
	return ask[api.Changes](d, "/api/v1/changes", q)
}

func (d pageData) Deployments(q url.Values) (api.Deployments, error) {
	return ask[api.Deployments](d, "/api/v1/deployments", q)
}

func (d pageData) Deployment(group string) (api.Deployment, bool) {
	return one[api.Deployment](d, "/api/v1/deployments/{group}", "group", group)
}

func (d pageData) Failures(q url.Values) (api.Failures, error) {
	return ask[api.Failures](d, "/api/v1/failures", q)
}
