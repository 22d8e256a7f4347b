package marathon

import (
	"maps"
	"net/netip"
	"strings"
	"time"

	"relay/sources"
	"relay/sources/labels"
)

// podEndpoint is one declared endpoint of a pod; its position over all containers is the port
// index of labels.
type podEndpoint struct {
	podEndpointJSON
	container string
	check     *podHealthCheckJSON // of the container; nil for none
	networks  map[string]bool     // those that it is on; all if there is none
	key       string              // of the endpoint in the history, after the id of the instance
}

// endpointsOf lists the endpoints as far as they are allowed, and one more if
// there are more.
func endpointsOf(spec *podSpecJSON) []podEndpoint {
	var list []podEndpoint
	for _, c := range spec.Containers {
		for _, e := range c.Endpoints {
			if len(list) > sources.MaxPorts {
				return list
			}
			e.Name = sources.BoundedName(e.Name)
			one := podEndpoint{container: sources.BoundedName(c.Name), check: c.HealthCheck, podEndpointJSON: e, networks: make(map[string]bool, len(e.NetworkNames))}
			one.key = " " + one.container + " " + e.Name
			for _, name := range e.NetworkNames {
				one.networks[name] = true
			}
			list = append(list, one)
		}
	}
	return list
}

// convertPod turns a pod into what is routed, as an app with a port for each
// endpoint. Like convertApp it has no side effects.
func convertPod(p *podJSON, prior history, m mapping) mapped {
	endpoints := endpointsOf(&p.Spec)
	shell := podAsApp(p, endpoints)
	out := convertApp(&shell, nil, m)
	out.pod, out.newest, out.failure = true, nil, nil
	if out.app.Orchestration = nil; out.app.Scaling != nil {
		out.app.Scaling = nil
		out.problem("pod", "neither sleeps nor is scaled: Relay changes the instances of apps alone")
	}
	out.app.Stopped = out.app.Stopped && p.Spec.Scaling != nil
	endpoints = endpoints[:len(out.app.Ports)]
	instances := firstByID(p.Instances, out.listed(len(p.Instances)), func(i podInstanceJSON) string { return i.ID })
	newest := "::versions/" + sources.BoundedName(p.Spec.Version)
	for i := range instances {
		if id := instances[i].ID; id != "" && len(id) <= sources.MaxIDBytes {
			out.addInstance(statusOf(&instances[i]), endpoints, &shell, newest, prior, m)
		}
	}
	out.release(outdatedInstances(instances, p.Spec.Version), shell.Instances)
	out.sort()
	return out
}

// outdatedInstances returns the instances of versions before the newest, with their versions.
func outdatedInstances(instances []podInstanceJSON, newest string) (older map[string]time.Time) {
	now, ok := parseTime(newest)
	for i := range instances {
		_, version, _ := strings.Cut(instances[i].SpecReference, "::versions/")
		if at, known := parseTime(version); ok && known && at.Before(now) {
			if older == nil {
				older = make(map[string]time.Time)
			}
			older[instances[i].ID] = at
		}
	}
	return older
}

// addInstance adds one instance to the ports, endpoint by endpoint. newest is the end of
// a reference to the newest definition.
func (out *mapped) addInstance(status podStatus, endpoints []podEndpoint, shell *appJSON, newest string, prior history, m mapping) {
	instance, mode := status.instance, modeOf(shell)
	where := layout{mode: mode, networks: len(shell.Networks)}
	outdated := !strings.HasSuffix(instance.SpecReference, newest)
	for n, e := range endpoints {
		if out.unlisted != nil && out.unlisted[n] {
			continue
		}
		key := instance.ID + e.key
		if _, twice := out.history[key]; twice {
			continue
		}
		before, now := prior[key], podState(status, e, prior[key], outdated)
		health, reason := rotation(&now.task, now.result, before, m.unreachable)
		r := record{result: now.result, rotation: reason == "", unknownState: taskPhase(&now.task) == phaseUnknown}
		if reason == "" {
			at := m.addressing.placeOf(mode, &now.task)
			r.address, reason = m.addressing.endpoint(where, now.port, at)
			out.noteAgent(at, instance.ID)
			out.waiting = out.waiting || (reason != "" && health == sources.Healthy)
		}
		// The ports here are those of the newest definition. An instance of an older one
		// keeps the address that was found while its definition was the newest.
		if reason == "" && outdated && before.address.Addr() == r.address.Addr() {
			r.address = before.address
		}
		out.history[key] = r
		listInstance(&out.app.Ports[n], instance, health, r.address, reason)
	}
}

// listInstance puts an instance into rotation at address, unless there is a reason not to.
func listInstance(port *sources.Port, instance *podInstanceJSON, health sources.Health, address netip.AddrPort, reason string) {
	if reason != "" {
		port.Excluded = append(port.Excluded, sources.Excluded{Task: instance.ID, Reason: reason})
		return
	}
	port.Endpoints = append(port.Endpoints, sources.Endpoint{
		Address: address, Health: health, Task: instance.ID, Region: sources.BoundedName(instance.AgentRegion), Zone: sources.BoundedName(instance.AgentZone),
	})
}

// podAsApp is an app with the ports and labels of a pod, and no tasks.
func podAsApp(p *podJSON, endpoints []podEndpoint) appJSON {
	app := appJSON{
		ID: p.ID, Version: p.Spec.Version,
		Networks: p.Spec.Networks, Labels: podLabels(p, endpoints),
	}
	if s := p.Spec.Scaling; s != nil {
		app.Instances = s.Instances
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
	all := maps.Clone(p.Spec.Labels)
	for n, e := range endpoints {
		for key, value := range e.Labels {
			if all == nil {
				all = map[string]string{}
			}
			all[labels.ForPort(key, n)] = value
		}
	}
	return all
}

// podStatus is an instance with what its endpoints look up.
type podStatus struct {
	instance    *podInstanceJSON
	containers  map[string]*podContainerStatus // by name
	unreachable bool
}

type podContainerStatus struct {
	status    string
	endpoints map[string]podEndpointStatusJSON // by name: the order is not that of the definition
	// checked tells that the container's health is checked, by the definition of its version,
	// targeted that this is done at one of its endpoints, and fails and unreported what Mesos
	// says of it.
	checked, targeted, fails, unreported bool
}

func statusOf(instance *podInstanceJSON) podStatus {
	s := podStatus{
		instance: instance, containers: make(map[string]*podContainerStatus, len(instance.Containers)),
		unreachable: strings.Contains(instance.Message, "unreachable"),
	}
	for _, c := range instance.Containers {
		if s.containers[c.Name] != nil {
			continue
		}
		status := &podContainerStatus{status: c.Status, endpoints: make(map[string]podEndpointStatusJSON, len(c.Endpoints))}
		for _, e := range c.Endpoints {
			if _, twice := status.endpoints[e.Name]; !twice {
				status.endpoints[e.Name] = e
			}
			status.targeted = status.targeted || e.Healthy != nil
		}
		for _, condition := range c.Conditions {
			if condition.Name == "healthy" {
				status.checked, status.fails, status.unreported = true, condition.Value == "false", condition.Reason == "health-unreported-by-mesos"
			}
		}
		s.containers[c.Name] = status
	}
	return s
}

// addresses lists those of an instance on the networks of an endpoint, as far
// as it takes to find one.
func (s podStatus) addresses(e podEndpoint) (list []ipAddressJSON) {
	const most = 32
	for _, n := range s.instance.Networks[:min(len(s.instance.Networks), most)] {
		if len(e.networks) > 0 && !e.networks[sources.BoundedName(n.Name)] {
			continue
		}
		for _, address := range n.Addresses[:min(len(n.Addresses), most-len(list))] {
			list = append(list, ipAddressJSON{address})
		}
	}
	return list
}

// endpointState is what is known of one endpoint of one instance, in the form
// in which tasks of apps are judged and addressed.
type endpointState struct {
	task   taskJSON
	port   declaration
	result checkResult
}

func podState(status podStatus, e podEndpoint, before record, outdated bool) endpointState {
	instance := status.instance
	s := endpointState{
		task: taskJSON{ID: instance.ID, Host: instance.AgentHostname, State: "TASK_STAGING"},
		port: declaration{name: e.Name, containerPort: e.ContainerPort, hostIndex: -1},
	}
	if instance.Status == "TERMINAL" {
		s.task.State = "TASK_FINISHED"
		return s
	}
	s.task.IPAddresses = status.addresses(e)
	container := status.containers[e.container]
	if container == nil {
		return s
	}
	s.task.State = container.status
	endpoint := container.endpoints[e.Name]
	if endpoint.AllocatedHostPort > 0 {
		s.task.Ports, s.port.hostIndex = []int{endpoint.AllocatedHostPort}, 0
	}
	if s.result = podCheckResult(e, container, endpoint, outdated); s.result == unknown {
		s.result = before.result
	}
	if status.unreachable {
		s.task.State = "TASK_UNREACHABLE"
		if len(s.task.IPAddresses) > 0 {
			s.task.isKept = true
		}
	}
	return s
}

// podCheckResult returns the result of the container that has the endpoint. If another
// container fails, the instance is degraded, which does not count. Of an outdated instance
// only what Marathon says of it counts, since Marathon goes by the definition of its version:
// the checks of the newest one are not its own.
func podCheckResult(e podEndpoint, container *podContainerStatus, status podEndpointStatusJSON, outdated bool) checkResult {
	check := e.check
	switch {
	case status.Healthy != nil && *status.Healthy:
		return healthy
	case status.Healthy != nil && container.unreported:
		return unknown
	case status.Healthy != nil:
		return unhealthy
	case outdated && (!container.checked || container.targeted): // by nothing, or at another endpoint
		return healthy
	case outdated: // by a command
	case check == nil:
		return healthy
	case check.HTTP != nil || check.TCP != nil:
		if (check.HTTP != nil && check.HTTP.Endpoint == e.Name) || (check.TCP != nil && check.TCP.Endpoint == e.Name) {
			return unknown
		}
		return healthy
	}
	switch { // by a command, which belongs to no endpoint
	case container.unreported:
		return unknown
	case container.fails:
		return unhealthy
	}
	return healthy
}
