package routing

import (
	"cmp"
	"net/netip"
	"slices"

	"relay/sources"
)

// CleanEndpoints returns the endpoints that Envoy can take, ordered by locality and
// address, whatever the order of tasks. Of several with the same address it returns the
// healthiest. The problems say what it left out.
func CleanEndpoints(endpoints []sources.Endpoint) (clean []sources.Endpoint, problems []string) {
	clean = make([]sources.Endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		address := e.Address.Addr().Unmap()
		if !address.IsValid() || address.IsUnspecified() || address.Zone() != "" || e.Address.Port() == 0 {
			problems = append(problems, "task "+e.Task+" has the address "+e.Address.String()+
				", to which nothing can connect: it gets no requests")
			continue
		}
		e.Address = netip.AddrPortFrom(address, e.Address.Port())
		clean = append(clean, e)
	}
	slices.SortFunc(clean, func(a, b sources.Endpoint) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Health, b.Health), CompareLocality(a, b))
	})
	clean = slices.CompactFunc(clean, func(a, b sources.Endpoint) bool { return a.Address == b.Address })
	slices.SortStableFunc(clean, CompareLocality)
	return clean, problems
}

// CompareLocality orders endpoints by region, then by zone.
func CompareLocality(a, b sources.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone))
}

// EndpointsOf returns the endpoints of an app port. The app may be nil.
func EndpointsOf(app *sources.App, port int) []sources.Endpoint {
	if app == nil || port >= len(app.Ports) {
		return nil
	}
	return app.Ports[port].Endpoints
}

// TakingNew returns how many instances of an app port take new requests: those that end take none. The app may be nil.
func TakingNew(app *sources.App, port int) (n int) {
	for _, e := range EndpointsOf(app, port) {
		if e.Health != sources.Draining {
			n++
		}
	}
	return n
}
