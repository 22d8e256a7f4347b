package marathon

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"relay/sources"
)

// podEndpoint is one declared endpoint of a pod; its position over all containers is the port
// index of labels.
type podEndpoint struct {
	container podContainerJSON
	podEndpointJSON
}

func endpointsOf(spec *podSpecJSON) []podEndpoint {
	var list []podEndpoint
	for _, c := range spec.Containers {
		for _, e := range c.Endpoints {
			list = append(list, podEndpoint{c, e})
		}
	}
	return list
}

// mapPod turns one pod into what is routed, as an app with a port for each
// endpoint. Like mapApp it has no side effects.
func mapPod(p *podJSON, prior history, m mapping) mapped {
	endpoints := endpointsOf(&p.Spec)
	shell := podAsApp(p, endpoints)
	mode := modeOf(&shell)
	out := mapApp(&shell, nil, m)
	out.pod = true
	for i := range p.Instances {
		instance := &p.Instances[i]
		if instance.ID == "" {
			continue
		}
		outdated := !strings.HasSuffix(instance.SpecReference, "::versions/"+p.Spec.Version)
		for n, e := range endpoints {
			key := instance.ID + " " + e.container.Name + " " + e.Name
			if _, twice := out.history[key]; twice {
				continue
			}
			before, now := prior[key], podState(instance, e, prior[key])
			health, reason := rotation(&now.task, now.verdict, before, m.unreachable)
			r := record{verdict: now.verdict, rotation: reason == "", strange: taskPhase(&now.task) == phaseOther}
			if reason == "" {
				r.address, reason = m.addressing.endpoint(&shell, mode, now.port, &now.task)
				out.waiting = out.waiting || (reason != "" && health == sources.Healthy)
			}
			// The definition at hand is the newest one. An instance of an older one
			// stays where it was found when that was the newest.
			if reason == "" && outdated && before.address.Addr() == r.address.Addr() {
				r.address = before.address
			}
			out.history[key] = r
			addInstance(&out.app.Ports[n], instance, health, r.address, reason)
		}
	}
	out.sort()
	return out
}

// addInstance puts an instance into rotation at address, unless there is a reason not to.
func addInstance(port *sources.Port, instance *podInstanceJSON, health sources.Health, address netip.AddrPort, reason string) {
	if reason != "" {
		port.Excluded = append(port.Excluded, sources.Excluded{Task: instance.ID, Reason: reason})
		return
	}
	port.Endpoints = append(port.Endpoints, sources.Endpoint{
		Address: address, Health: health, Task: instance.ID, Region: instance.AgentRegion, Zone: instance.AgentZone,
	})
}

// podAsApp is an app with the ports and labels of a pod, and no tasks.
func podAsApp(p *podJSON, endpoints []podEndpoint) appJSON {
	app := appJSON{
		ID: p.ID, Version: p.Spec.Version, Instances: p.Spec.Scaling.Instances,
		Networks: p.Spec.Networks, Labels: podLabels(p, endpoints),
	}
	if modeOf(&app) == modeHost {
		app.PortDefinitions = []portDefinitionJSON{}
	} else {
		app.Container = &containerJSON{PortMappings: []portMappingJSON{}}
	}
	for _, e := range endpoints {
		protocol := strings.Join(e.Protocol, ",")
		if app.Container == nil {
			app.PortDefinitions = append(app.PortDefinitions, portDefinitionJSON{Name: e.Name, Protocol: protocol})
			continue
		}
		app.Container.PortMappings = append(app.Container.PortMappings, portMappingJSON{
			ContainerPort: e.ContainerPort, HostPort: e.HostPort, Name: e.Name, Protocol: protocol, NetworkNames: e.NetworkNames,
		})
	}
	return app
}

// podLabels are the labels of a pod and those of its endpoints. The latter have
// no index in their names, and come before those of the pod that have one.
func podLabels(p *podJSON, endpoints []podEndpoint) map[string]string {
	labels := maps.Clone(p.Spec.Labels)
	for n, e := range endpoints {
		for key, value := range e.Labels {
			for _, prefix := range []string{"HAPROXY_", "MARATHON_ACME_", "RELAY_"} {
				if rest, ok := strings.CutPrefix(key, prefix); ok {
					key = prefix + strconv.Itoa(n) + "_" + rest
					break
				}
			}
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key] = value
		}
	}
	return labels
}

// endpointState is what is known of one endpoint of one instance, in the form
// in which tasks of apps are judged and addressed.
type endpointState struct {
	task    taskJSON
	port    declaration
	verdict verdict
}

func podState(instance *podInstanceJSON, e podEndpoint, before record) endpointState {
	s := endpointState{
		task: taskJSON{ID: instance.ID, Host: instance.AgentHostname, State: "TASK_STAGING"},
		port: declaration{name: e.Name, containerPort: e.ContainerPort, hostIndex: -1},
	}
	if instance.Status == "TERMINAL" {
		s.task.State = "TASK_FINISHED"
		return s
	}
	for _, n := range instance.Networks {
		if len(e.NetworkNames) > 0 && !slices.Contains(e.NetworkNames, n.Name) {
			continue
		}
		for _, address := range n.Addresses {
			s.task.IPAddresses = append(s.task.IPAddresses, ipAddressJSON{address})
		}
	}
	i := slices.IndexFunc(instance.Containers, func(c podContainerStatusJSON) bool { return c.Name == e.container.Name })
	if i < 0 {
		return s
	}
	container := &instance.Containers[i]
	s.task.State = container.Status
	var status podEndpointStatusJSON
	// The order is not that of the definition.
	if j := slices.IndexFunc(container.Endpoints, func(s podEndpointStatusJSON) bool { return s.Name == e.Name }); j >= 0 {
		status = container.Endpoints[j]
	}
	if status.AllocatedHostPort > 0 {
		s.task.Ports, s.port.hostIndex = []int{status.AllocatedHostPort}, 0
	}
	if s.verdict = podVerdict(e, container, status); s.verdict == unknown {
		s.verdict = before.verdict
	}
	if strings.Contains(instance.Message, "unreachable") {
		s.task.State = "TASK_UNREACHABLE"
		if len(s.task.IPAddresses) > 0 {
			s.task.StartedAt = "before" // it has not been given up
		}
	}
	return s
}

// podVerdict judges by the container that has the endpoint: another one that
// fails makes the instance degraded and does not count.
func podVerdict(e podEndpoint, container *podContainerStatusJSON, status podEndpointStatusJSON) verdict {
	fails, unreported := false, false
	for _, c := range container.Conditions {
		if c.Name == "healthy" {
			fails, unreported = c.Value == "false", c.Reason == "health-unreported-by-mesos"
		}
	}
	check := e.container.HealthCheck
	switch {
	case status.Healthy != nil && *status.Healthy:
		return healthy
	case status.Healthy != nil && unreported:
		return unknown
	case status.Healthy != nil:
		return unhealthy
	case check == nil:
		return healthy
	case check.HTTP != nil || check.TCP != nil:
		if (check.HTTP != nil && check.HTTP.Endpoint == e.Name) || (check.TCP != nil && check.TCP.Endpoint == e.Name) {
			return unknown
		}
		return healthy
	case unreported: // by a command, which belongs to no endpoint
		return unknown
	case fails:
		return unhealthy
	}
	return healthy
}
