package marathon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"relay/sources"
)

type networkMode uint8

const (
	modeHost networkMode = iota
	modeBridge
	modeContainer
	modeNone // the container has no network at all
)

// modeOf finds the network mode in any of the shapes that Marathon has used:
// "networks" (1.5 and later), "container.docker.network", "ipAddress".
func modeOf(app *appJSON) networkMode {
	if len(app.Networks) > 0 {
		switch app.Networks[0].Mode {
		case "host":
			return modeHost
		case "container/bridge":
			return modeBridge
		}
		return modeContainer
	}
	if c := app.Container; c != nil && c.Docker != nil {
		switch strings.ToUpper(c.Docker.Network) {
		case "USER":
			return modeContainer
		case "BRIDGE":
			return modeBridge
		case "HOST":
			return modeHost
		case "NONE":
			return modeNone
		}
	}
	if app.IPAddress != nil {
		return modeContainer
	}
	return modeHost
}

// declaration is one declared port; its position is the port index of labels.
type declaration struct {
	name     string
	protocol string
	// containerPort is the port inside the container, on container networks; 0
	// when it equals the host port that Mesos assigns.
	containerPort int
	// servicePort is what load balancers listen on for the port; 0 when there is
	// none.
	servicePort uint16
	// checkedByHTTP tells that a health check of the port speaks HTTP.
	checkedByHTTP bool
	// hostIndex is the position in a task's list of host ports, or -1 when the
	// port has no host port.
	hostIndex int
	// network is the position, counted from 1 in the list of the app, of the only
	// container network that the port is published on; 0 when there is no such one.
	network int
}

// udpOnly tells that no TCP client can use the port.
func (d declaration) udpOnly() bool { return strings.EqualFold(strings.TrimSpace(d.protocol), "udp") }

// declarations lists the declared ports of an app, and tells whether some are
// left out because there are more than allowed.
func declarations(app *appJSON, mode networkMode) (list []declaration, tooMany bool) {
	list = allDeclarations(app, mode)
	if tooMany = len(list) > sources.MaxPorts; tooMany {
		list = list[:sources.MaxPorts]
	}
	for _, check := range app.HealthChecks {
		if check == nil || check.Port != 0 || check.PortIndex < 0 || check.PortIndex >= len(list) {
			continue
		}
		switch check.Protocol {
		case "", "HTTP", "MESOS_HTTP": // HTTP is Marathon's default
			list[check.PortIndex].checkedByHTTP = true
		}
	}
	return list, tooMany
}

// allDeclarations finds the declared ports in any of the shapes that Marathon has used.
func allDeclarations(app *appJSON, mode networkMode) []declaration {
	switch mode {
	case modeNone:
		return nil
	case modeContainer:
		if ip := app.IPAddress; ip != nil && ip.Discovery != nil && len(ip.Discovery.Ports) > 0 {
			var list []declaration
			for _, p := range ip.Discovery.Ports {
				list = append(list, declaration{name: sources.BoundedName(p.Name), protocol: p.Protocol, containerPort: p.Number, hostIndex: -1})
			}
			return list
		}
		fallthrough
	case modeBridge:
		if mappings, ok := portMappings(app); ok {
			return mappingDeclarations(mappings, mode, app.Networks)
		}
	}
	var list []declaration
	if app.PortDefinitions != nil {
		for i, p := range app.PortDefinitions {
			list = append(list, declaration{name: sources.BoundedName(p.Name), protocol: p.Protocol, servicePort: validPort(p.Port), hostIndex: i})
		}
		return list
	}
	for i, port := range app.Ports {
		list = append(list, declaration{protocol: "tcp", servicePort: validPort(port), hostIndex: i})
	}
	return list
}

// portMappings returns the mappings from where the release puts them. An
// empty list means "no ports"; a missing one is reported as false.
func portMappings(app *appJSON) ([]portMappingJSON, bool) {
	c := app.Container
	if c == nil {
		return nil, false
	}
	if len(c.PortMappings) == 0 && c.Docker != nil && c.Docker.PortMappings != nil {
		return c.Docker.PortMappings, true
	}
	return c.PortMappings, c.PortMappings != nil
}

func mappingDeclarations(mappings []portMappingJSON, mode networkMode, networks []networkJSON) []declaration {
	positions := make(map[string]int, len(networks))
	for i, n := range slices.Backward(networks) {
		positions[n.Name] = i + 1 // the first of that name
	}
	var list []declaration
	hostPorts := 0
	for i, m := range mappings {
		d := declaration{name: sources.BoundedName(m.Name), protocol: m.Protocol, containerPort: m.ContainerPort, servicePort: validPort(m.ServicePort), hostIndex: -1}
		if len(m.NetworkNames) == 1 {
			d.network = positions[m.NetworkNames[0]]
		}
		switch {
		case mode == modeBridge:
			d.hostIndex = i
		case m.HostPort != nil:
			d.hostIndex = hostPorts
			hostPorts++
		}
		list = append(list, d)
	}
	return list
}

// addressing chooses addresses of tasks.
type addressing struct {
	container  ContainerAddress
	networks   []netip.Prefix
	preferIPv6 bool
	// resolve returns the address of an agent that is given by name, invalid when it is not
	// known, and what there is to tell of it.
	resolve func(host string) (netip.Addr, string)
}

// place is where a task is: what is the same for all its ports.
type place struct {
	task *taskJSON
	// own are the addresses of the task itself in the order given, invalid where
	// they cannot be used, and best is the one to take if the order tells nothing.
	own  []netip.Addr
	best netip.Addr
	// agent is that of the agent, or missing says why there is none, once asked.
	asked   bool
	agent   netip.Addr
	missing string
	note    string // what there is to tell of the agent's address
}

func (a addressing) placeOf(mode networkMode, task *taskJSON) *place {
	at := &place{task: task}
	if mode != modeContainer {
		return at
	}
	at.own = make([]netip.Addr, len(task.IPAddresses))
	var usable []netip.Addr
	for i, entry := range task.IPAddresses {
		if ip, ok := parseIP(entry.IPAddress); ok && a.allowed(ip) {
			at.own[i] = ip
			usable = append(usable, ip)
		}
	}
	at.best, _ = preferred(usable, a.preferIPv6)
	return at
}

// endpoint returns where a task serves a declared port, or why it does not (yet).
func (a addressing) endpoint(l layout, d declaration, at *place) (netip.AddrPort, string) {
	hostPort := hostPortOf(d, at.task)
	if l.mode != modeContainer {
		if hostPort == 0 {
			return netip.AddrPort{}, "has no host port for this index yet"
		}
		return a.onHost(l.mode, at, hostPort)
	}
	useHost := d.hostIndex >= 0 && a.container == ContainerHost
	ip := at.best
	// The address of the port's network, when the order tells it.
	if i := networkByOrder(l.networks, d, at.task); i >= 0 && at.own[i].IsValid() {
		ip = at.own[i]
	}
	if !ip.IsValid() && d.hostIndex >= 0 && a.container == ContainerAuto {
		useHost = true
	}
	if useHost {
		if hostPort == 0 {
			return netip.AddrPort{}, "has no address or host port yet"
		}
		return a.onHost(l.mode, at, hostPort)
	}
	if !ip.IsValid() {
		return netip.AddrPort{}, "has no usable IP address yet"
	}
	port := validPort(d.containerPort)
	if port == 0 {
		port = hostPort
	}
	if port == 0 {
		return netip.AddrPort{}, "has no container port"
	}
	return netip.AddrPortFrom(ip, port), ""
}

func (a addressing) onHost(mode networkMode, at *place, port uint16) (netip.AddrPort, string) {
	if !at.asked {
		at.asked = true
		at.agent, at.note, at.missing = a.agentOf(mode, at.task)
	}
	if at.missing != "" {
		return netip.AddrPort{}, at.missing
	}
	return netip.AddrPortFrom(at.agent, port), ""
}

// agentOf returns the address of a task's agent, and what there is to tell of it, or the
// reason why there is none.
func (a addressing) agentOf(mode networkMode, task *taskJSON) (ip netip.Addr, note, missing string) {
	if ip, ok := parseIP(task.Host); ok {
		return ip, "", ""
	}
	if task.Host == "" {
		return netip.Addr{}, "", "has no host yet"
	}
	// On the host's own network Mesos reports the agent's addresses here. On a
	// bridge it reports an address that only the agent itself can reach.
	if mode == modeHost {
		var ips []netip.Addr
		for _, entry := range task.IPAddresses {
			if ip, ok := parseIP(entry.IPAddress); ok && !ip.IsLoopback() {
				ips = append(ips, ip)
			}
		}
		if ip, ok := preferred(ips, a.preferIPv6); ok {
			return ip, "", ""
		}
	}
	if _, err := netip.ParseAddr(task.Host); err == nil {
		return netip.Addr{}, "", "runs on a host whose address nothing can be reached at: " + clip(task.Host)
	}
	if a.resolve == nil || len(task.Host) > sources.MaxNameBytes {
		return netip.Addr{}, "", "runs on a host whose name is not resolved: " + clip(task.Host)
	}
	ip, note = a.resolve(task.Host)
	switch {
	case ip.IsValid() && note != "":
		return ip, fmt.Sprintf("runs on %s, whose name %s", clip(task.Host), note), ""
	case ip.IsValid():
		return ip, "", ""
	case note != "":
		return netip.Addr{}, "", fmt.Sprintf("runs on %s, whose name %s", clip(task.Host), note)
	}
	return netip.Addr{}, "", "runs on a host whose name is not resolved: " + clip(task.Host)
}

// networkByOrder returns which of the task's addresses is that of the port's
// network. Addresses have no network name, but come in the order of the
// networks when there are as many; -1 when that tells nothing.
func networkByOrder(networks int, d declaration, task *taskJSON) int {
	if networks < 2 || len(task.IPAddresses) != networks {
		return -1
	}
	return d.network - 1
}

// ambiguousNetworks returns a warning if the address of some task on several networks is
// a guess, else nothing.
func ambiguousNetworks(app *appJSON, tasks []taskJSON, mode networkMode, declared []declaration, a addressing) string {
	if mode != modeContainer || len(app.Networks) < 2 {
		return ""
	}
	for i := range tasks {
		task := &tasks[i]
		seen := map[bool]int{} // by family
		for _, entry := range task.IPAddresses {
			if ip, ok := parseIP(entry.IPAddress); ok && a.allowed(ip) {
				seen[ip.Is6()]++
			}
		}
		family := a.preferIPv6 && seen[true] > 0 || seen[false] == 0
		guessed := func(d declaration) bool { return networkByOrder(len(app.Networks), d, task) < 0 }
		if seen[family] > 1 && slices.ContainsFunc(declared, guessed) {
			return "tasks have addresses on several networks, and which is meant is not known: the first is used; name one network in networkNames of the port mapping, or allow the addresses of one network only"
		}
	}
	return ""
}

func (a addressing) allowed(ip netip.Addr) bool {
	return len(a.networks) == 0 || slices.ContainsFunc(a.networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// preferred returns the first address of the preferred family, else the first.
func preferred(ips []netip.Addr, ipv6 bool) (netip.Addr, bool) {
	if len(ips) == 0 {
		return netip.Addr{}, false
	}
	if i := slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Is6() == ipv6 }); i >= 0 {
		return ips[i], true
	}
	return ips[0], true
}

// parseIP accepts what Envoy accepts as an endpoint: an address without zone
// that is not "any".
func parseIP(s string) (netip.Addr, bool) {
	if len(s) > sources.MaxNameBytes {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(s)
	ip = ip.Unmap()
	if err != nil || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return netip.Addr{}, false
	}
	if ip.Is6() && ip.IsLinkLocalUnicast() { // means nothing without a zone
		return netip.Addr{}, false
	}
	return ip, true
}

func hostPortOf(d declaration, task *taskJSON) uint16 {
	if d.hostIndex < 0 || d.hostIndex >= len(task.Ports) {
		return 0
	}
	return validPort(task.Ports[d.hostIndex])
}

func validPort(p int) uint16 {
	if p < 1 || p > 65535 {
		return 0
	}
	return uint16(p)
}
