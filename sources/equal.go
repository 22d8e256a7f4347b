package sources

import (
	"reflect"
	"slices"
)

// Equal reports whether two reads of an app say the same.
func (a *App) Equal(b *App) bool {
	return a == b || a != nil && b != nil &&
		a.ID == b.ID && a.Version == b.Version &&
		equalPointees(a.Deployment, b.Deployment) &&
		slices.EqualFunc(a.Ports, b.Ports, equalPorts) &&
		slices.Equal(a.Problems, b.Problems)
}

func equalPorts(a, b Port) bool {
	return a.Name == b.Name && a.RedirectToHTTPS == b.RedirectToHTTPS &&
		slices.Equal(a.Groups, b.Groups) &&
		slices.Equal(a.Domains, b.Domains) &&
		slices.Equal(a.ACMEDomains, b.ACMEDomains) &&
		a.HTTP.Equal(b.HTTP) && a.Upstream.Equal(b.Upstream) && equalPointees(a.TCP, b.TCP) &&
		slices.Equal(a.Endpoints, b.Endpoints) &&
		slices.Equal(a.Excluded, b.Excluded)
}

// Equal reports whether both say the same; nil differs from all else.
func (h *HTTP) Equal(other *HTTP) bool { return equalPointees(h, other) }

// Equal reports whether both say the same; nil differs from all else.
func (u *Upstream) Equal(other *Upstream) bool { return equalPointees(u, other) }

// equalPointees looks into what few apps have: most pointers are nil.
func equalPointees[T any](a, b *T) bool {
	return a == b || a != nil && b != nil && reflect.DeepEqual(a, b)
}
