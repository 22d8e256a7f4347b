package admin

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
	"relay/collator"
	"relay/xds"
)

const (
	// statusAge is how old a status may be that is answered: all who ask share it.
	statusAge = time.Second
	// maxWorst and maxOfWorst bound the groups of problems in the status.
	maxWorst, maxOfWorst = 10, 3
	// warnDays is when a certificate is said to expire soon. ACME clients renew 30 days ahead,
	// so less than that means that renewal does not work.
	warnDays = 21
	// lateAfter is how long an Envoy may take to answer: it does in milliseconds, or in seconds at
	// its start.
	lateAfter = 10 * time.Second
	// maxNamed is how many Envoys of a fleet are named.
	maxNamed = 10
	// seriesLength is the hour that the series has, seriesStep one step of it.
	seriesLength, seriesStep = time.Hour, 10 * time.Second
)

// sharedStatus is the status as it was computed last.
type sharedStatus struct {
	mu      sync.Mutex
	at      time.Time
	value   *api.Status
	encoded encoded

	// event is the status of the entity tag eventOf as an event.
	events  sync.Mutex
	event   []byte
	eventOf string
}

// status answers /api/v1/status.
func (s *Server) status(w http.ResponseWriter, r *http.Request, _ query) {
	_, e, err := s.currentStatus()
	if err != nil {
		s.fail(w, err)
		return
	}
	e.send(w, r)
}

// currentStatus returns a status that is at most statusAge old. Nobody may modify it.
func (s *Server) currentStatus() (*api.Status, encoded, error) {
	shared := &s.shared
	shared.mu.Lock()
	defer shared.mu.Unlock()
	now := time.Now()
	if shared.value != nil && now.Sub(shared.at) < statusAge {
		return shared.value, shared.encoded, nil
	}
	value := s.newStatus(now)
	tagged := *value
	tagged.Time = time.Time{} // that alone is no difference
	// In one line: with a line for each number of the series it would be four times as large.
	etag, err := json.Marshal(tagged)
	if err != nil {
		return nil, encoded{}, err
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil, encoded{}, err
	}
	shared.at, shared.value, shared.encoded = now, value, newEncoded(append(body, '\n'), etag)
	return value, shared.encoded, nil
}

// newStatus puts together what is known now.
func (s *Server) newStatus(now time.Time) *api.Status {
	views := s.cfg.Views
	served, counts, problems, notReady := views.Served(), views.Counts(), s.problems.current(views, now), s.notReady()
	status := &api.Status{
		Version: s.cfg.Version, Time: now.UTC(), Ready: len(notReady) == 0, NotReady: notReady,
		Summary: served.String(), OK: served.All() && len(notReady) == 0, // for the findings, see below
		Counts: api.Counts{
			Apps: counts.Apps, Domains: counts.Domains, Endpoints: counts.Endpoints, Problems: len(problems.all), Failing: problems.failing,
			WithoutTask: served.WithoutTask, WithoutCertificate: served.WithoutCertificate, InNoFleet: served.InNoFleet, LeftOut: served.LeftOut, Stopped: served.Stopped, Asleep: served.Asleep,
		},
		Sources: sourcesOf(s.sources()), Fleets: []api.FleetStatus{},
	}
	status.Worst, status.MoreGroups = problems.worst, problems.moreGroups
	for _, refused := range views.Refused() {
		status.Refused = append(status.Refused, redact(refused))
	}
	gone := views.Disconnected()
	for _, f := range views.Fleets() {
		fleet := s.fleetStatus(f, gone, now)
		status.Counts.Envoys += fleet.Envoys
		status.Fleets = append(status.Fleets, fleet)
	}
	certificates := views.CertificatesInShort()
	status.Counts.Certificates = len(certificates)
	status.Certificates = certificatesStatus(certificates)
	status.Certificates.Uncovered = served.WithoutCertificate - served.NotWanted
	status.Scaling, status.Probes = s.scalingStatus(), s.probesSum.current(s.cfg.Probing, now)
	s.addReports(status, now)
	status.Findings = findings.OfStatus(status)
	status.OK = findings.Worst(status.Findings) == api.OK
	return status
}

// addReports adds what Envoys report, and what was published.
func (s *Server) addReports(status *api.Status, now time.Time) {
	steps := int(seriesLength / seriesStep)
	end := now.Truncate(seriesStep)
	series := &api.Series{Start: end.Add(-seriesLength).UTC(), Step: int(seriesStep / time.Second)}
	for _, values := range []*api.Values{&series.Requests, &series.Errors, &series.Failures, &series.Changes, &series.P50, &series.P99} {
		*values = make(api.Values, steps)
		for i := range *values {
			(*values)[i] = api.Unknown()
		}
	}
	if s.cfg.Load != nil {
		status.Load = s.cfg.Load.TotalLoad()
		s.cfg.Load.FillSeries(series)
	}
	if s.cfg.Failures != nil {
		status.Failures = new(s.cfg.Failures.FailureRate(""))
		s.cfg.Failures.FillSeries(series)
	}
	if s.cfg.History != nil {
		status.Convergence = s.cfg.History.Convergence()
		s.cfg.History.FillSeries(series)
	}
	if s.cfg.Load != nil || s.cfg.Failures != nil || s.cfg.History != nil {
		status.Series = series
	}
}

// fleetStatus sums up the Envoys of a fleet. gone are those of all fleets that have left.
func (s *Server) fleetStatus(f FleetView, gone []api.Envoy, now time.Time) api.FleetStatus {
	fleet := api.FleetStatus{Name: f.Name, Revision: f.Revision, Envoys: len(f.Envoys)}
	reporting := 0
	var due, early []api.EnvoySince // of those that do not report
	for _, status := range f.Envoys {
		e := s.envoyOf(f.Name, status)
		switch e.State {
		case api.EnvoyRejecting:
			fleet.Rejecting++
			if len(fleet.Rejected) < maxNamed {
				fleet.Rejected = append(fleet.Rejected, firstRejected(status))
			}
		case api.EnvoyBehind:
			fleet.Behind++
		default:
			fleet.UpToDate++
		}
		if since := unanswered(status); !since.IsZero() && now.Sub(since) > lateAfter && len(fleet.Late) < maxNamed {
			fleet.Late = append(fleet.Late, api.EnvoySince{ID: e.ID, Since: since})
		}
		one := api.EnvoySince{ID: e.ID, Since: e.Reported, Connected: e.Connected}
		switch {
		case now.Sub(e.Reported) < api.ReportDue:
			reporting++
		case one.ReportDue(now) && len(due) < maxNamed:
			due = append(due, one)
		case len(early) < maxNamed:
			early = append(early, one)
		}
	}
	for _, e := range gone {
		if e.Fleet == f.Name && len(fleet.Disconnected) < maxNamed {
			fleet.Disconnected = append(fleet.Disconnected, api.EnvoySince{ID: e.ID, Since: e.Disconnected})
		}
	}
	if s.cfg.Load != nil {
		fleet.Load, fleet.Reporting = s.cfg.Load.FleetLoad(f.Name), &reporting
		all := append(due, early...)
		fleet.NotReported = all[:min(len(all), maxNamed)]
	}
	if s.cfg.Failures != nil {
		fleet.Failures = new(s.cfg.Failures.FailureRate(f.Name))
	}
	return fleet
}

// firstRejected is the first resource of which an Envoy lacks the present version.
func firstRejected(e xds.StreamStatus) api.Rejected {
	for _, t := range e.Types {
		if len(t.Stale) > 0 {
			return api.Rejected{Envoy: e.NodeID, Resource: t.Type.String() + " " + t.Stale[0].Name, Error: redact(t.Stale[0].Message)}
		}
	}
	return api.Rejected{Envoy: e.NodeID}
}

// unanswered is when the oldest response was sent that an Envoy has not answered; zero for none.
func unanswered(e xds.StreamStatus) (since time.Time) {
	for _, t := range e.Types {
		if t.InFlight && (since.IsZero() || t.SentAt.Before(since)) {
			since = t.SentAt
		}
	}
	return since
}

// certificatesStatus sums up certificates. Those that nobody uses are no reason to worry.
func certificatesStatus(all []collator.CertificateView) api.CertificatesStatus {
	sum := api.CertificatesStatus{Total: len(all)}
	for _, c := range all {
		switch {
		case c.Unused:
			sum.Unused++
			continue
		case c.DaysLeft < 0:
			sum.Expired++
		case c.DaysLeft < warnDays:
			sum.Soon++
		}
		if sum.Next == nil || c.NotAfter.Before(sum.Next.NotAfter) {
			sum.Next = &api.NextCertificate{Name: c.Source + "/" + c.Name, NotAfter: c.NotAfter}
		}
	}
	return sum
}
