package collator

import (
	"cmp"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"relay/sources"
)

// Endpoints makes the load assignment of a cluster from endpoints as
// cleanEndpoints leaves them. Without endpoints it is empty, and Envoy answers
// 503; it must exist all the same, or the cluster never gets warm.
func Endpoints(name string, endpoints []sources.Endpoint) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	var locality *endpointv3.LocalityLbEndpoints
	for i, e := range endpoints {
		if i == 0 || CompareLocality(endpoints[i-1], e) != 0 {
			locality = &endpointv3.LocalityLbEndpoints{}
			if e.Region != "" || e.Zone != "" {
				locality.Locality = &corev3.Locality{Region: e.Region, Zone: e.Zone}
			}
			assignment.Endpoints = append(assignment.Endpoints, locality)
		}
		locality.LbEndpoints = append(locality.LbEndpoints, lbEndpoint(e))
	}
	return assignment
}

func lbEndpoint(e sources.Endpoint) *endpointv3.LbEndpoint {
	status := corev3.HealthStatus_HEALTHY
	switch e.Health {
	case sources.Degraded:
		status = corev3.HealthStatus_DEGRADED
	case sources.Draining:
		status = corev3.HealthStatus_DRAINING
	}
	return &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: socketAddress(e.Address),
		}},
		HealthStatus: status,
	}
}

// CleanEndpoints returns the endpoints Envoy can take, one per address (the
// healthiest), ordered by locality and address whatever the order of tasks,
// and what it left out.
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

func CompareLocality(a, b sources.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone))
}
