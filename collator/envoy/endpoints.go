package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"google.golang.org/protobuf/types/known/structpb"

	"relay/collator/routing"
	"relay/sources"
)

// Endpoints makes the load assignment of a cluster from endpoints as
// routing.CleanEndpoints returns them. Without endpoints it is empty and Envoy answers
// 503. It must exist all the same, or the cluster never gets warm.
//
// of says what the connections are for: the slots of servers of Redis have keys of their own, and instances that get
// their address as the host have it as their name.
func Endpoints(name string, of routing.Connections, endpoints []sources.Endpoint) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	var locality *endpointv3.LocalityLbEndpoints
	for i, e := range endpoints {
		if i == 0 || routing.CompareLocality(endpoints[i-1], e) != 0 {
			locality = &endpointv3.LocalityLbEndpoints{}
			if e.Region != "" || e.Zone != "" {
				locality.Locality = &corev3.Locality{Region: e.Region, Zone: e.Zone}
			}
			assignment.Endpoints = append(assignment.Endpoints, locality)
		}
		locality.LbEndpoints = append(locality.LbEndpoints, lbEndpoint(e, of))
	}
	return assignment
}

// namesInstances tells the cluster apart from that without names of instances: older Envoys do not take a name for an
// instance that they have, and a changed cluster has them all anew.
func namesInstances(c routing.Connections) *corev3.Metadata {
	if !c.HostOfInstance {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"relay": {Fields: map[string]*structpb.Value{"host_of_instance": structpb.NewBoolValue(true)}},
	}}
}

func lbEndpoint(e sources.Endpoint, of routing.Connections) *endpointv3.LbEndpoint {
	status := corev3.HealthStatus_HEALTHY
	switch e.Health {
	case sources.Degraded:
		status = corev3.HealthStatus_DEGRADED
	case sources.Draining:
		status = corev3.HealthStatus_DRAINING
	}
	endpoint := &endpointv3.Endpoint{Address: socketAddress(e.Address)}
	if of.HostOfInstance {
		endpoint.Hostname = e.Address.String()
	}
	return &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: endpoint},
		HealthStatus:   status,
		Metadata:       endpointMetadata(e, of.Redis),
	}
}

// endpointMetadata is what load balancing, and the filter of rebalancing, look at; nil if there is nothing.
func endpointMetadata(e sources.Endpoint, redis bool) *corev3.Metadata {
	if e.Slot == 0 && e.Shed.Percent <= 0 {
		return nil
	}
	m := make(map[string]*structpb.Struct)
	switch {
	case e.Slot > 0 && redis:
		m["envoy.lb"] = redisHashKey(e.Slot)
	case e.Slot > 0:
		m["envoy.lb"] = hashKey(e.Slot)
	}
	if e.Shed.Percent > 0 {
		m[shedNamespace] = shedMetadata(e.Shed)
	}
	return &corev3.Metadata{FilterMetadata: m}
}
