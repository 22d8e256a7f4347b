package sources

import (
	"reflect"
	"slices"

	"relay/internal/problem"
)

// Equal reports whether two reads of an app say the same.
func (a *App) Equal(b *App) bool {
	return a == b || a != nil && b != nil &&
		a.ID == b.ID && a.Version == b.Version && a.Stopped == b.Stopped && a.Wanted == b.Wanted && a.Labels == b.Labels &&
		a.Gated == b.Gated && a.Maintenance == b.Maintenance && a.Owner == b.Owner &&
		equalPointees(a.Scaling, b.Scaling) && equalPointees(a.Orchestration, b.Orchestration) &&
		equalPointees(a.Deployment, b.Deployment) &&
		slices.EqualFunc(a.Ports, b.Ports, equalPorts) &&
		equalProblems(a.Problems, b.Problems) &&
		slices.Equal(a.Notes, b.Notes) &&
		slices.Equal(a.Unrouted, b.Unrouted)
}

// equalProblems compares what sources say, the subject and the reason, and the rest only
// where it is set: apps are compared often, and may have many problems.
func equalProblems(a, b []problem.Problem) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		p, q := &a[i], &b[i]
		if p.Subject != q.Subject || p.Reason != q.Reason || (saysMore(p) || saysMore(q)) && *p != *q {
			return false
		}
	}
	return true
}

// saysMore reports whether more than the subject and the reason is set.
func saysMore(p *problem.Problem) bool {
	return len(p.Kind)+len(p.Fleet)+len(p.App)+len(p.Item)+len(p.Domain)+len(p.Severity)+len(p.Action) > 0
}

func equalPorts(a, b Port) bool {
	return a.Name == b.Name && a.Probe == b.Probe && a.RedirectToHTTPS == b.RedirectToHTTPS &&
		slices.Equal(a.Groups, b.Groups) &&
		slices.Equal(a.Domains, b.Domains) &&
		slices.Equal(a.ACMEDomains, b.ACMEDomains) &&
		a.HTTP.Equal(b.HTTP) && a.Upstream.Equal(b.Upstream) && a.TCP.Equal(b.TCP) &&
		a.Wake == b.Wake && slices.Equal(a.UsedBy, b.UsedBy) && equalPointees(a.Queue, b.Queue) &&
		slices.Equal(a.Endpoints, b.Endpoints) &&
		slices.Equal(a.Excluded, b.Excluded)
}

// Equal reports whether both say the same; nil differs from all else.
func (h *HTTP) Equal(other *HTTP) bool { return equalPointees(h, other) }

// Equal reports whether both say the same; nil differs from all else.
func (u *Upstream) Equal(other *Upstream) bool { return equalPointees(u, other) }

// Equal reports whether both say the same; nil differs from all else.
func (t *TCP) Equal(other *TCP) bool { return equalPointees(t, other) }

// equalPointees looks into what few apps have: most pointers are nil.
func equalPointees[T any](a, b *T) bool {
	return a == b || a != nil && b != nil && reflect.DeepEqual(a, b)
}
