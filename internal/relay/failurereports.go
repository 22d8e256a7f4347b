package relay

import (
	"time"

	"relay/admin"
	"relay/admin/api"
	"relay/internal/failure"
	"relay/traffic"
)

// failureReports tells the admin endpoint of the failures that Envoys report.
type failureReports struct {
	failures *traffic.Failures
	// routed returns the name under which an app is routed, which Envoys know it by.
	routed func(app string) string
	// domains counts those of the last hour that are kept.
	domains recently[map[string]int]
}

var _ admin.Failures = (*failureReports)(nil)

// Failures returns those that fit, the newest first.
func (r *failureReports) Failures(q admin.FailureQuery) (newest []api.Failure, total int) {
	if q == (admin.FailureQuery{Limit: 1}) { // who begins to follow asks for the last one alone
		if last := r.failures.LastID(); last > 0 {
			return []api.Failure{{ID: last}}, 1
		}
		return nil, 0
	}
	if q.App != "" {
		q.App = r.routed(q.App)
	}
	for _, f := range r.failures.All(traffic.Filter{Fleet: q.Fleet, App: q.App, Domain: q.Domain, Code: q.Code}) {
		if q.Envoy != "" && f.Envoy != q.Envoy {
			continue
		}
		if total++; (q.Before == 0 || f.ID < q.Before) && len(newest) < q.Limit {
			newest = append(newest, failureOf(f))
		}
	}
	return newest, total
}

func failureOf(f traffic.Failure) api.Failure {
	one := api.Failure{
		ID: f.ID, Time: f.Time.UTC(), Fleet: f.Fleet, Envoy: f.Envoy, App: f.App, Port: max(0, f.Port), Domain: f.Domain,
		Method: f.Method, Path: f.Path, Status: f.Status, Code: f.Code, RequestID: f.RequestID, Client: f.Client,
		Duration: f.Duration.Seconds(), Count: int(f.Count),
	}
	if f.Instance.IsValid() {
		one.Instance = f.Instance.String()
	}
	if code, ok := failure.Of(f.Code); ok {
		one.Cause = code.Cause
	}
	if f.Reason != "" {
		one.Cause += " Envoy says: " + f.Reason
	}
	return one
}

// FailuresAfter returns the oldest after an id.
func (r *failureReports) FailuresAfter(id uint64, limit int) (all []api.Failure) {
	for _, f := range r.failures.Since(id, limit) {
		all = append(all, failureOf(f))
	}
	return all
}

// AppFailures counts those of an app in the last hour, for which no client is to blame.
func (r *failureReports) AppFailures(app string) int { return int(r.failures.OfApp(r.routed(app))) }

// DomainFailures counts those of a domain that are kept.
func (r *failureReports) DomainFailures(domain string) int {
	return r.domains.get(func() map[string]int {
		counts, since := make(map[string]int), time.Now().Add(-time.Hour)
		for _, f := range r.failures.All(traffic.Filter{}) {
			if f.Time.After(since) {
				counts[f.Domain] += int(f.Count)
			}
		}
		return counts
	})[domain]
}

// FailureRate is per second, over the last minute.
func (r *failureReports) FailureRate(fleet string) float64 { return r.failures.PerSecond(fleet) }

// FillSeries sets the failures.
func (r *failureReports) FillSeries(s *api.Series) {
	start, perSecond := r.failures.Series("")
	fill(s, s.Failures, start, perSecond)
}
