package relay

import (
	"slices"
	"strings"
	"time"

	"relay/admin"
	"relay/admin/api"
	"relay/collator/history"
)

// changeReports tells the admin endpoint of what was published.
type changeReports struct{ history *history.History }

var _ admin.History = changeReports{}

// allChanges is more than are kept.
const allChanges = 1 << 20

// Changes returns those that fit, the newest first.
func (r changeReports) Changes(q admin.ChangeQuery) (newest []api.Change, total int) {
	switch {
	case q.App != "":
		return pick(r.history.OfApp(q.App), q)
	case q.Certificate != "":
		_, name, _ := strings.Cut(q.Certificate, "/")
		return pick(r.history.OfCertificate(name), q)
	case q.Text != "":
		return pick(r.history.Last(allChanges, 0), q)
	}
	for _, c := range r.history.Last(q.Limit, q.Before) {
		newest = append(newest, changeOf(c))
	}
	return newest, r.history.Len()
}

func pick(all []history.Change, q admin.ChangeQuery) (newest []api.Change, total int) {
	for _, c := range all {
		if !mentions(c, q.Text) {
			continue
		}
		if total++; (q.Before == 0 || c.ID < q.Before) && len(newest) < q.Limit {
			newest = append(newest, changeOf(c))
		}
	}
	return newest, total
}

// mentions reports whether a change has a text in it, which is in lower case.
func mentions(c history.Change, text string) bool {
	if text == "" {
		return true
	}
	return slices.ContainsFunc(slices.Concat([]string{c.Cause}, c.Apps, c.Certificates, c.What), func(s string) bool {
		return strings.Contains(strings.ToLower(s), text)
	})
}

func changeOf(c history.Change) api.Change {
	one := api.Change{
		ID: c.ID, Time: c.Time.UTC(), Fleet: c.Fleet, Revision: c.Revision, Cause: c.Cause, Apps: c.Apps, AppCount: c.AppCount,
		Certificates: c.Certificates, What: c.What, Resources: c.Resources, Converged: c.Converged, Waiting: c.Waiting,
	}
	for _, r := range c.Rejected {
		one.Rejected = append(one.Rejected, api.Rejected(r))
	}
	return one
}

// ChangesAfter returns the oldest after an id.
func (r changeReports) ChangesAfter(id uint64, limit int) (all []api.Change) {
	for _, c := range r.history.Since(id, limit) {
		all = append(all, changeOf(c))
	}
	return all
}

// LastChange is when an app changed last.
func (r changeReports) LastChange(app string) time.Time { return r.history.LastChanged(app) }

// Convergence is nil if no change came to all Envoys in the last hour.
func (r changeReports) Convergence() *api.Convergence {
	sum := r.history.LastHour()
	if sum.P50 == nil || sum.P99 == nil {
		return nil
	}
	return &api.Convergence{P50: *sum.P50, P99: *sum.P99, Changes: sum.Changes}
}

// FillSeries sets the changes, and how long they took.
func (r changeReports) FillSeries(s *api.Series) {
	from := r.history.Series()
	changes, p50, p99 := make([]float64, len(from.Changes)), make([]float64, len(from.Changes)), make([]float64, len(from.Changes))
	for i, n := range from.Changes {
		changes[i], p50[i], p99[i] = float64(n), orUnknown(from.P50[i]), orUnknown(from.P99[i])
	}
	fill(s, s.Changes, from.Start, changes)
	fill(s, s.P50, from.Start, p50)
	fill(s, s.P99, from.Start, p99)
}

func orUnknown(v *float64) float64 {
	if v == nil {
		return float64(api.Unknown())
	}
	return *v
}
