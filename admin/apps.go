package admin

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
	"relay/collator"
	"relay/collator/explain"
	"relay/internal/problem"
	"relay/scaling/deployments"
	"relay/xds"
)

// maxLast is how many failures and changes the story of an app or domain has.
const maxLast = 20

// apps answers /api/v1/apps.
func (s *Server) apps(_ *http.Request, q query) (any, error) {
	text, fleet, phase := q.text("q"), q.values["fleet"], q.values["phase"]
	entries := filter(s.cfg.Views.AppEntries(), text != "" || fleet != "" || phase != "", func(e *collator.AppEntry) bool {
		return e.Has(text) && (fleet == "" || slices.Contains(e.Fleets, fleet)) && (phase == "" || s.phaseOf(e.ID) == phase)
	})
	shown, page := pageOf(entries, q, func(e *collator.AppEntry) string { return e.ID }, s.appOrder(q.values["sort"]))
	list := api.Apps{Apps: make([]api.App, 0, len(shown)), Page: page}
	for _, e := range shown {
		if app, ok := s.cfg.Views.App(e.ID); ok { // it may have been removed just now
			one := s.appOf(app)
			if one.Scaling != nil {
				short := *one.Scaling
				short.Events = nil
				one.Scaling = &short
			}
			list.Apps = append(list.Apps, one)
		}
	}
	return list, nil
}

// filter returns the entries that match, or all if there is nothing to look for.
func filter[T any](all []T, wanted bool, match func(T) bool) []T {
	if !wanted {
		return all
	}
	var some []T
	for _, one := range all {
		if match(one) {
			some = append(some, one)
		}
	}
	return some
}

// appOrder returns what apps are sorted by; nil for the id.
func (s *Server) appOrder(sort string) func(*collator.AppEntry) float64 {
	switch {
	case (sort == "requests" || sort == "errors") && s.cfg.Load != nil:
		return orderByLoad(sort, func(e *collator.AppEntry) *api.Load { return s.appLoad(e.ID) })
	case sort == "failures" && s.cfg.Failures != nil:
		return func(e *collator.AppEntry) float64 { return float64(s.cfg.Failures.AppFailures(e.ID)) }
	case sort == "changed" && s.cfg.History != nil:
		return func(e *collator.AppEntry) float64 {
			if last := s.cfg.History.LastChange(e.ID); !last.IsZero() {
				return float64(last.UnixMilli())
			}
			return 0
		}
	}
	return nil
}

// orderByLoad sorts by requests or errors. What has no load comes last.
func orderByLoad[E any](sort string, loadOf func(E) *api.Load) func(E) float64 {
	return func(e E) float64 {
		switch l := loadOf(e); {
		case l == nil:
			return 0
		case sort == "errors":
			return l.Errors
		default:
			return l.Requests
		}
	}
}

func (s *Server) appLoad(id string) *api.Load {
	if s.cfg.Load == nil {
		return nil
	}
	return s.cfg.Load.AppLoad(id)
}

func (s *Server) appFailures(id string) *int {
	if s.cfg.Failures == nil {
		return nil
	}
	n := s.cfg.Failures.AppFailures(id)
	return &n
}

func (s *Server) lastChange(id string) (last time.Time) {
	if s.cfg.History == nil {
		return last
	}
	return s.cfg.History.LastChange(id)
}

// appOf returns an app as it is in lists.
func (s *Server) appOf(a collator.AppView) api.App {
	app := api.App{
		ID: a.ID, Version: a.Version, Stopped: a.Stopped, Ports: make([]api.Port, len(a.Ports)),
		Load: s.appLoad(a.ID), Failures: s.appFailures(a.ID), Changed: s.lastChange(a.ID),
		ProblemCount: len(a.Problems), Severity: string(worst(a.Problems)),
		Maintenance: a.Maintenance, Owner: a.Owner, Scaling: s.scalingOf(a.ID),
	}
	if a.Routed != nil && a.Routed.ID != a.ID {
		app.Deployment = strings.TrimPrefix(a.Routed.ID, deployments.Prefix)
	}
	if app.Scaling != nil {
		app.Stopped = app.Stopped && !app.Scaling.Sleeps()
	}
	for i, p := range a.Ports {
		app.Ports[i] = s.portOf(p)
	}
	return app
}

func (s *Server) scalingOf(id string) *api.Scaling {
	if s.cfg.Scaling == nil {
		return nil
	}
	return s.cfg.Scaling.AppScaling(id)
}

func (s *Server) phaseOf(id string) string {
	if s.cfg.Scaling == nil {
		return ""
	}
	return s.cfg.Scaling.Phase(id)
}

// maxWakes is how many apps for which requests wait are in the status.
const maxWakes = 10

// scalingStatus sums up the apps that are scaled; nil where none is.
func (s *Server) scalingStatus() *api.ScalingStatus {
	if s.cfg.Scaling == nil {
		return nil
	}
	sum := s.cfg.Scaling.Status()
	if sum != nil && len(sum.Wakes) > maxWakes {
		sum.MoreWakes = len(sum.Wakes) - maxWakes
		sum.Wakes = sum.Wakes[:maxWakes]
	}
	return sum
}

// wakes answers /api/v1/wakes.
func (s *Server) wakes(_ *http.Request, q query) (any, error) {
	var all []api.Wake
	if s.cfg.Scaling != nil {
		all = s.cfg.Scaling.Wakes()
	}
	shown, page := pageOf(all, q, func(w api.Wake) string { return w.App }, nil)
	return api.Wakes{Wakes: orEmpty(shown), Page: page}, nil
}

func worst(problems []problem.Problem) (severity problem.Severity) {
	for _, p := range problems {
		if of := p.Complete().Severity; severity == "" || of.Compare(severity) < 0 {
			severity = of
		}
	}
	return severity
}

func (s *Server) portOf(p collator.PortView) api.Port {
	port := api.Port{Index: p.Index, Name: p.Name, Fleets: p.Fleets, OtherGroups: p.OtherGroups, Domains: p.Domains, Cluster: p.Cluster, Probe: p.Probe}
	for _, e := range p.Endpoints {
		port.Endpoints = append(port.Endpoints, api.Endpoint{
			Address: e.Address.String(), Health: e.Health.String(), Task: e.Task, Version: e.Version, Region: e.Region, Zone: e.Zone,
		})
	}
	for _, e := range p.Excluded {
		port.Excluded = append(port.Excluded, api.Excluded(e))
	}
	if p.TCP != nil {
		port.TCP = tcpOf(p)
	}
	if s.cfg.Load != nil && p.Cluster != "" {
		port.Load = s.cfg.Load.PortLoad(p.Cluster)
	}
	if s.cfg.Rebalance != nil && p.Cluster != "" {
		port.Rebalance = s.cfg.Rebalance.PortRebalance(p.Cluster)
	}
	if s.cfg.Waiting != nil && p.Cluster != "" {
		port.Waiting = s.cfg.Waiting.PortWaiting(p.Cluster)
	}
	return port
}

// app answers /api/v1/apps/shop/web with the app "/shop/web".
func (s *Server) app(r *http.Request, _ query) (any, error) {
	id := "/" + strings.Trim(r.PathValue("id"), "/")
	view, ok := s.cfg.Views.App(id)
	if !ok {
		return nil, unknown(fmt.Sprintf("no app %q", id))
	}
	story := api.AppStory{App: s.appOf(view), Problems: shownAll(worstFirst(view.Problems))}
	unreachable := s.cfg.Views.Unreachable()
	for i := range story.Ports {
		port := &story.Ports[i]
		for j := range port.Endpoints {
			e := &port.Endpoints[j]
			e.Unreachable = redact(unreachable[port.Cluster][e.Address])
			if s.cfg.Load != nil && port.Cluster != "" {
				e.Load = s.cfg.Load.InstanceLoad(port.Cluster, e.Address)
			}
		}
	}
	story.Labels, story.MoreLabels = labelsOf(view)
	story.InEnvoy = s.inEnvoy(&story)
	for _, n := range view.Notes {
		story.Notes = append(story.Notes, api.Note(n))
	}
	if answer, _ := s.cfg.Views.Explain(id); answer != nil {
		story.Envoys = progressOf(answer)
		s.addResources(&story, answer)
	}
	story.LastFailures = s.lastFailures(FailureQuery{App: id})
	story.LastChanges = s.lastChanges(ChangeQuery{App: id})
	story.Findings = findings.OfApp(&story, sourcesOf(s.sources()), time.Now())
	return story, nil
}

func labelsOf(view collator.AppView) (all map[string]string, more int) {
	for l := range view.Labels.All() {
		if all == nil {
			all = make(map[string]string)
		}
		all[l.Name] = l.Value
	}
	return all, view.Labels.More()
}

// inEnvoy says by what of Envoy labels do what they ask for.
func (s *Server) inEnvoy(story *api.AppStory) map[string]string {
	var known map[string]string
	var ports []string
	for _, port := range story.Ports {
		ports = append(ports, port.Name)
	}
	for name := range story.Labels {
		if how := s.cfg.Views.InEnvoy(name, ports); how != "" {
			if known == nil {
				known = make(map[string]string)
			}
			known[name] = how
		}
	}
	return known
}

// maxResources is how many resources of an app are shown: one with very many domains has as many scopes.
const maxResources = 50

// addResources says what was made of an app for Envoys.
func (s *Server) addResources(story *api.AppStory, answer any) {
	e, ok := answer.(explain.Explanation)
	if !ok {
		return
	}
	var names []string
	for _, port := range story.Ports {
		names = append(append(names, port.Cluster), port.Domains...)
	}
	for _, fleet := range slices.Sorted(maps.Keys(e.Needs)) {
		// What is of secrets and endpoints says nothing more.
		keys := slices.DeleteFunc(slices.Clone(e.Needs[fleet]), func(k xds.Key) bool { return k.Type == xds.Secret || k.Type == xds.Endpoint })
		slices.SortFunc(keys, func(a, b xds.Key) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name)) })
		if over := len(keys) - (maxResources - len(story.Resources)); over > 0 {
			keys, story.MoreResources = keys[:len(keys)-over], story.MoreResources+over
		}
		for i, outline := range s.cfg.Views.Outlines(fleet, keys, names) {
			if outline != nil {
				story.Resources = append(story.Resources, api.Resource{Fleet: fleet, Type: keys[i].Type.String(), Name: keys[i].Name, Outline: outline})
			}
		}
	}
}

func worstFirst(problems []problem.Problem) []problem.Problem {
	all := slices.Clone(problems)
	for i := range all {
		all[i] = all[i].Complete()
	}
	problem.Sort(all)
	return all
}

// progressOf returns how far Envoys are, from an explanation.
func progressOf(answer any) (envoys []api.Progress) {
	e, ok := answer.(explain.Explanation)
	if !ok {
		return nil
	}
	for _, fleet := range e.Fleets {
		for _, envoy := range fleet.Envoys {
			p := api.Progress{Fleet: fleet.Name, ID: envoy.ID, Version: envoy.Version, Address: envoy.Address, Needs: fleet.Needs, Acknowledged: envoy.Acknowledged}
			for _, w := range envoy.Waiting {
				waiting := api.Waiting{Type: w.Type, Name: w.Name, State: w.State}
				if w.Rejected != nil {
					waiting.Error = redact(w.Rejected.Message)
				}
				p.Waiting = append(p.Waiting, waiting)
			}
			envoys = append(envoys, p)
		}
	}
	return envoys
}

func (s *Server) lastFailures(q FailureQuery) []api.Failure {
	if s.cfg.Failures == nil {
		return nil
	}
	q.Limit = maxLast
	last, _ := s.cfg.Failures.Failures(q)
	return last
}

func (s *Server) lastChanges(q ChangeQuery) []api.Change {
	if s.cfg.History == nil {
		return nil
	}
	q.Limit = maxLast
	last, _ := s.cfg.History.Changes(q)
	return last
}
