package page

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"relay/admin/api"
)

// maxRows is how many entries a page of a list has. maxCursors bounds an address from outside.
const maxRows = 50

// list is the body of a page with a list.
type list[T any] struct {
	Rows []T
	Pager
	// Filter is what the list is narrowed by, as in the address.
	Filter url.Values
	Path   string
	// Fleets are those to choose from.
	Fleets []string
}

// Pager is the place in a list.
type Pager struct {
	From, To, Total int
	// First and Next are addresses of other pages of the list; empty for none.
	First, Next string
}

// With is the address of the list with one parameter changed, and from the beginning.
func (l list[T]) With(name, value string) string {
	return address(l.Path, l.Filter, name, value)
}

// Get is a parameter of the list.
func (l list[T]) Get(name string) string { return l.Filter.Get(name) }

// Sorted is the attribute of a column's head: how the list is sorted by it.
func (l list[T]) Sorted(by, order string) string {
	if l.Filter.Get("sort") == by {
		return order
	}
	return "none"
}

func address(path string, values url.Values, name, value string) string {
	changed := url.Values{}
	for key, v := range values {
		if key != "cursor" && key != "from" && key != name && len(v) > 0 && v[0] != "" {
			changed[key] = v
		}
	}
	if value != "" {
		changed.Set(name, value)
	}
	if len(changed) == 0 {
		return path
	}
	return path + "?" + changed.Encode()
}

// query takes the parameters of a list out of an address. What else is in the address counts
// for nothing.
func query(r *http.Request, names ...string) url.Values {
	given, q := r.URL.Query(), url.Values{"limit": {strconv.Itoa(maxRows)}}
	for _, name := range append(names, "cursor") {
		if v := strings.TrimSpace(given.Get(name)); v != "" {
			q.Set(name, v)
		}
	}
	return q
}

func newList[T any](p *Pages, r *http.Request, rows []T, page api.Page, q url.Values) list[T] {
	q.Del("limit")
	q.Del("cursor")
	l := list[T]{Rows: rows, Filter: q, Path: r.URL.Path}
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	if r.URL.Query().Get("cursor") == "" || from < 0 || from >= page.Total {
		from = 0
	}
	l.Pager = Pager{From: min(from+1, page.Total), To: from + len(rows), Total: page.Total}
	if from > 0 {
		l.First = address(l.Path, q, "", "")
	}
	if page.Next != "" {
		next := address(l.Path, q, "from", strconv.Itoa(l.To))
		l.Next = next + "&" + url.Values{"cursor": {page.Next}}.Encode()
	}
	for _, f := range p.data.Status().Fleets {
		l.Fleets = append(l.Fleets, f.Name)
	}
	return l
}

func (p *Pages) apps(r *http.Request) (view, error) {
	q := query(r, "q", "sort", "fleet", "phase")
	answer, err := p.data.Apps(q)
	return view{Name: "apps", Title: "Apps", Nav: "apps", Every: later, Body: newList(p, r, answer.Apps, answer.Page, q)}, err
}

func (p *Pages) domains(r *http.Request) (view, error) {
	q := query(r, "q", "sort", "fleet", "status")
	answer, err := p.data.Domains(q)
	return view{Name: "domains", Title: "Domains", Nav: "domains", Every: later, Body: newList(p, r, answer.Domains, answer.Page, q)}, err
}

func (p *Pages) envoys(r *http.Request) (view, error) {
	q := query(r, "q", "fleet", "state")
	answer, err := p.data.Envoys(q)
	return view{Name: "envoys", Title: "Envoys", Nav: "envoys", Every: soon, Body: newList(p, r, answer.Envoys, answer.Page, q)}, err
}

func (p *Pages) certificates(r *http.Request) (view, error) {
	q := query(r, "q", "sort")
	if q.Get("sort") == "" {
		q.Set("sort", "days")
	}
	answer, err := p.data.Certificates(q)
	return view{Name: "certificates", Title: "Certificates", Nav: "certificates", Every: later, Body: newList(p, r, answer.Certificates, answer.Page, q)}, err
}

func (p *Pages) authorities(r *http.Request) (view, error) {
	q := query(r, "q")
	answer, err := p.data.Authorities(q)
	return view{Name: "authorities", Title: "Authorities of clients", Nav: "certificates", Every: later, Body: newList(p, r, answer.Authorities, answer.Page, q)}, err
}

// uncovered has the domains without a certificate, as many as a page may have.
func (p *Pages) uncovered(*http.Request) (view, error) {
	all := p.data.Uncovered().Uncovered
	body := struct {
		some[api.UncoveredDomain]
		Known bool
	}{firstOf(4*maxRows, all), all != nil}
	return view{Name: "uncovered", Title: "Domains without a certificate", Nav: "domains", Every: later, Body: body}, nil
}

func (p *Pages) problems(r *http.Request) (view, error) {
	q := query(r, "kind", "severity", "app")
	answer, err := p.data.Problems(q)
	return view{Name: "problems", Title: "Problems", Nav: "problems", Every: later, Body: newList(p, r, answer.Problems, answer.Page, q)}, err
}

func (p *Pages) changes(r *http.Request) (view, error) {
	q := query(r, "q", "app", "certificate")
	answer, err := p.data.Changes(q)
	return view{Name: "changes", Title: "Changes", Nav: "changes", Every: soon, Body: newList(p, r, answer.Changes, answer.Page, q)}, err
}

func (p *Pages) failures(r *http.Request) (view, error) {
	q := query(r, "app", "domain", "fleet", "envoy", "code")
	answer, err := p.data.Failures(q)
	return view{Name: "failures", Title: "Failures", Nav: "failures", Every: soon, Body: newList(p, r, answer.Failures, answer.Page, q)}, err
}
