package collator

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds"
)

// build makes the message of a resource from the state; nil when there is none. The
// https listener has two messages: see resource.
func (f *fleetState) build(key xds.Key) (proto.Message, error) {
	switch key.Type {
	case xds.Cluster, xds.Endpoint:
		if e, ok := f.externals.hosts[key.Name]; ok && key.Type == xds.Cluster {
			return envoy.ExternalCluster(e, &f.Fleet)
		}
		if key.Name == routing.RateLimitCluster && key.Type == xds.Cluster && f.RateLimitService != "" {
			return envoy.RateLimitCluster(&f.Fleet)
		}
		id, port := routing.SplitClusterName(key.Name)
		app := f.c.routed(id)
		switch {
		case f.refuses(key) && key.Type == xds.Cluster:
			return envoy.Cluster(key.Name, routing.Refusing(), &f.Fleet)
		case f.refuses(key):
			return envoy.Endpoints(key.Name, routing.Refusing(), routing.RefusingEndpoints()), nil
		case f.lacksCluster(key.Name, id, app, port):
			return nil, nil
		case key.Type == xds.Cluster:
			c := f.ConnectionsOf(app, port)
			if routing.IsMirrorCluster(key.Name) {
				c.Mirror, c.Queued, c.Sticky = true, false, false
			}
			c.RedisPassword = f.serverPassword(id, c)
			return envoy.Cluster(key.Name, c, &f.Fleet)
		}
		return envoy.Endpoints(key.Name, f.ConnectionsOf(app, port), f.EndpointsFor(id, app, port)), nil
	case xds.Secret:
		return f.buildSecret(key.Name)
	case xds.Listener:
		return f.buildListener(key.Name)
	case xds.Scope:
		return f.buildScope(key.Name)
	case xds.ExtensionConfig:
		return f.buildFilter(key.Name)
	}
	return nil, fmt.Errorf("no resource of type %s is built", key.Type)
}

// buildFilter makes a filter that listeners have by its name.
func (f *fleetState) buildFilter(name string) (proto.Message, error) {
	switch {
	case name == routing.HostsFilter:
		return envoy.HostsFilter()
	case name == routing.ScalingFilter && f.Scaling:
		return envoy.ScalingFilter(&f.Fleet)
	case name == routing.QueueFilter && f.Scaling:
		return envoy.QueueFilter()
	}
	if cluster, ok := routing.WakesCluster(name); ok {
		id, port := routing.SplitClusterName(cluster)
		if may, now := f.HoldsConnections(id, f.c.routed(id), port); may {
			return envoy.WakeFilter(&f.Fleet, cluster, now)
		}
	}
	if cluster, ok := routing.HoldsCluster(name); ok {
		id, port := routing.SplitClusterName(cluster)
		if hold, now := f.HoldOf(id, f.c.routed(id), port); hold > 0 {
			return envoy.HoldFilter(&f.Fleet, cluster, hold, now)
		}
	}
	if cluster, ok := routing.AcceptsCluster(name); ok {
		id, port := routing.SplitClusterName(cluster)
		if f.PacesConnections(id, f.c.routed(id), port) {
			return envoy.AcceptFilter(&f.Fleet, cluster)
		}
	}
	return nil, nil
}

// buildListener makes a listener other than https.
func (f *fleetState) buildListener(name string) (proto.Message, error) {
	switch {
	case name == routing.HTTPListener:
		return envoy.HTTPListener(&f.Fleet)
	case name == routing.HealthListener && f.Health.IsValid():
		return envoy.HealthListener(&f.Fleet)
	}
	if s, ok := f.services.Opened(name); ok {
		if s.Redis != nil {
			return f.buildRedis(s)
		}
		return envoy.TCPListener(&f.Fleet, s, envoy.RedisAccess{})
	}
	return nil, nil
}

func (f *fleetState) buildScope(name string) (proto.Message, error) {
	switch {
	case name == routing.WildcardsScope && len(f.domains.wildcardParents) > 0:
		return envoy.WildcardsScope(slices.Sorted(maps.Keys(f.domains.wildcardParents))), nil
	case f.domains.exists(name):
		routes := f.routesOf(name)
		f.noteTailed(routes)
		f.noteUsed(routes)
		f.noteSecrets(routes)
		f.noteClosed(name, routes)
		return envoy.Scope(&f.Fleet, routes)
	}
	f.noteClosed(name, routing.DomainRoutes{})
	delete(f.tailed, name)
	delete(f.uses.clusters, name)
	return nil, nil
}

// routesOf returns what the scope of a domain is made of.
func (f *fleetState) routesOf(domain string) routing.DomainRoutes {
	routes := f.DomainRoutes(domain, f.claimsOn(domain))
	// What is left out of the https listener does not count: it is known later.
	routes.Passed = f.passes(f.services.Names[domain], domain)
	f.setReferences(&routes)
	f.CountEverywhere(routes.Rules)
	routing.ByInstances(routes.Rules, f.c.takingNew)
	f.tail(&routes)
	f.addCredentials(&routes)
	return routes
}
