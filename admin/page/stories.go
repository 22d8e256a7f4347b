package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
)

// How many of each are shown in the story of one thing.
const (
	maxLabels = 200
	maxPorts  = 20
	maxStory  = 20 // problems, Envoys, failures, changes
	maxFound  = 6  // of a kind, in a search
)

// label is a label of an app, by what of Envoy it does what it asks for, and what is wrong with it.
type label struct{ Name, Value, InEnvoy, Problem string }

type appBody struct {
	*api.AppStory
	Labels   some[label]
	Ports    some[api.Port]
	Problems some[api.Problem]
	Envoys   some[api.Progress]
	// Behind are the Envoys that lack something.
	Behind   int
	Failures some[api.Failure]
	Changes  some[api.Change]
}

// missing is the body of a page that is not there: a name of a kind.
type missing struct {
	Kind, Name string
	Near       []string
	// Ignored are the first labels and the like that are ignored: the mistake may be among them.
	Ignored some[api.Problem]
}

func notThere(kind, name, nav string, near []string) view {
	return view{Name: "missing", Title: "No " + kind + " " + clip(name), Nav: nav, Every: later, Missing: true, Body: missing{Kind: kind, Name: name, Near: near}}
}

// app is the story of one app, from its labels to the answers of Envoys.
func (p *Pages) app(r *http.Request) (view, error) {
	id := "/" + strings.Trim(r.PathValue("id"), "/")
	story, ok := p.data.App(id)
	if !ok {
		return notThere("app", id, "apps", nil), nil
	}
	b := appBody{
		AppStory: &story, Problems: firstOf(maxStory, story.Problems), Ports: firstOf(maxPorts, story.Ports),
		Failures: firstOf(maxStory, story.LastFailures), Changes: firstOf(maxStory, story.LastChanges),
	}
	b.Labels = labelsOf(&story)
	envoys := slices.Clone(story.Envoys)
	slices.SortStableFunc(envoys, func(x, y api.Progress) int {
		return cmp.Compare(x.Acknowledged-x.Needs, y.Acknowledged-y.Needs)
	})
	for _, e := range envoys {
		if e.Acknowledged < e.Needs {
			b.Behind++
		}
	}
	b.Envoys = firstOf(maxStory, envoys)
	return view{Name: "app-story", Title: clip(id), Nav: "apps", Every: soon, Body: b}, nil
}

// labelsOf returns the labels of an app, each with its problem.
func labelsOf(story *api.AppStory) some[label] {
	wrong := make(map[string]string)
	for _, one := range story.Problems {
		name := one.Item
		if _, label, ok := strings.Cut(name, ", "); ok && strings.HasPrefix(name, "port ") {
			name = label // of a port and its label
		}
		if wrong[name] == "" {
			wrong[name] = one.Reason
		}
	}
	var labels []label
	for _, name := range slices.Sorted(maps.Keys(story.Labels)) {
		labels = append(labels, label{name, story.Labels[name], strings.ReplaceAll(story.InEnvoy[name], "`", ""), wrong[name]})
	}
	shown := firstOf(maxLabels, labels)
	shown.Hidden += story.MoreLabels
	return shown
}

type domainBody struct {
	*api.DomainStory
	Explained explain.Explanation
	Problems  some[api.Problem]
	Failures  some[api.Failure]
	Changes   some[api.Change]
}

// domain is the story of one domain: how it is routed, and why.
func (p *Pages) domain(r *http.Request) (view, error) {
	name := r.PathValue("name")
	story, ok := p.data.Domain(name)
	var e explain.Explanation
	if len(story.Explanation) > 0 {
		if err := json.Unmarshal(story.Explanation, &e); err != nil {
			return view{}, fmt.Errorf("read the explanation: %w", err)
		}
	}
	if !ok && !e.Known {
		v := notThere("domain", name, "domains", e.Near)
		ignored, err := p.data.Problems(url.Values{"severity": {string(problem.Ignored)}, "limit": {strconv.Itoa(maxStory)}})
		b := v.Body.(missing)
		b.Ignored = firstOf(maxStory, ignored.Problems)
		v.Body = b
		return v, err
	}
	if story.Name == "" || !ok {
		story.Name = e.Subject
	}
	if len(e.Domains)+len(e.Services) > 0 && story.Status == api.DomainInNoFleet {
		story.Status = "" // it is below a wildcard domain, or of a TCP service
	}
	b := domainBody{
		&story, e, firstOf(maxStory, story.Problems), firstOf(maxStory, story.LastFailures), firstOf(maxStory, story.LastChanges),
	}
	return view{Name: "domain-story", Title: clip(name), Nav: "domains", Every: soon, Body: b}, nil
}

type envoyBody struct {
	*api.EnvoyStory
	Failures some[api.Failure]
}

// envoy is the story of one Envoy: what it has, and what it lacks.
func (p *Pages) envoy(r *http.Request) (view, error) {
	fleet, id := r.PathValue("fleet"), r.PathValue("id")
	story, ok := p.data.Envoy(fleet, id)
	if !ok {
		return notThere("Envoy", fleet+"/"+id, "envoys", nil), nil
	}
	return view{Name: "envoy-story", Title: clip(id), Nav: "envoys", Every: soon, Body: envoyBody{&story, firstOf(maxStory, story.LastFailures)}}, nil
}

type certificateBody struct {
	*api.CertificateStory
	Problems some[api.Problem]
	Domains  some[string]
	Changes  some[api.Change]
}

// certificate is the story of one certificate: until when, and for whom.
func (p *Pages) certificate(r *http.Request) (view, error) {
	name := r.PathValue("name")
	story, ok := p.data.Certificate(name)
	if !ok {
		return notThere("certificate", name, "certificates", nil), nil
	}
	b := certificateBody{&story, firstOf(maxStory, story.Problems), firstOf(maxRows, story.Domains), firstOf(maxStory, story.LastChanges)}
	return view{Name: "certificate-story", Title: clip(story.Name), Nav: "certificates", Every: later, Body: b}, nil
}

type searchBody struct {
	Q            string
	Apps         api.Apps
	Domains      api.Domains
	Envoys       api.Envoys
	Certificates api.Certificates
	Total        int
}

// search looks for a text in the names of everything.
func (p *Pages) search(r *http.Request) (view, error) {
	b := searchBody{Q: strings.TrimSpace(r.URL.Query().Get("q"))}
	v := view{Name: "search", Title: "Search", Every: later}
	if b.Q == "" {
		v.Body = b
		return v, nil
	}
	q := func() url.Values { return url.Values{"q": {b.Q}, "limit": {strconv.Itoa(maxFound)}} }
	var errs [4]error
	b.Apps, errs[0] = p.data.Apps(q())
	b.Domains, errs[1] = p.data.Domains(q())
	b.Envoys, errs[2] = p.data.Envoys(q())
	b.Certificates, errs[3] = p.data.Certificates(q())
	b.Total = b.Apps.Total + b.Domains.Total + b.Envoys.Total + b.Certificates.Total
	v.Body, v.Title = b, "Search for "+clip(b.Q)
	return v, cmp.Or(errs[:]...)
}
