package routing

import (
	"slices"
	"strings"

	"relay/sources"
)

// ignoredSuffix ends the names of clusters for clients that do not count.
const ignoredSuffix = "~ignored"

// IgnoredCluster is the name of the cluster for requests of IgnoredClients to an app port. It has
// the same instances as the cluster of the port. So Envoys report its load apart.
func IgnoredCluster(cluster string) string { return cluster + ignoredSuffix }

// IsIgnoredCluster reports whether a name is that of an IgnoredCluster.
func IsIgnoredCluster(name string) bool { return strings.HasSuffix(name, ignoredSuffix) }

// Separates reports whether requests of IgnoredClients to an app port have a cluster of their own:
// if the app may sleep. While it sleeps, Relay decides about each request. The app may be nil.
func (f *Fleet) Separates(app *sources.App, port int) bool {
	if !f.Scaling || f.IgnoredClients.None() || !MaySleep(app) || app.Gated || port < 0 || port >= len(app.Ports) {
		return false
	}
	p := app.Ports[port]
	return len(p.Domains) > 0 && !IsTCP(p) && slices.Contains(p.Groups, f.Name)
}

// MaySleep reports whether Relay may stop an app that nobody uses. The app may be nil.
func MaySleep(app *sources.App) bool {
	return app != nil && app.Scaling != nil && app.Scaling.IdleAfter > 0
}
