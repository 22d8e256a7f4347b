package marathon

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"relay/internal/problem"
	"relay/sources"
)

// maxAgentProblems is how many agents are told of on the status page.
const maxAgentProblems = 20

// usableAddresses returns the addresses of an agent that others can reach, sorted, or if
// there are none those on its own link or of loopback: on a machine that runs everything
// they are right. note says what is wrong with the answer, and what to do.
func usableAddresses(host string, found []netip.Addr, err error) (usable []netip.Addr, note string) {
	if err != nil {
		return nil, "is not resolved: " + lookupReason(err)
	}
	var near, own, useless []netip.Addr
	for _, a := range found {
		ip, ok := parseIP(a.WithZone("").String())
		switch {
		case !ok:
			useless = append(useless, a)
		case ip.IsLoopback():
			own = append(own, ip)
		case ip.IsLinkLocalUnicast():
			near = append(near, ip)
		default:
			usable = append(usable, ip)
		}
	}
	for _, list := range [][]netip.Addr{usable, near, own, useless} {
		slices.SortFunc(list, netip.Addr.Compare)
	}
	const name = ": give the name the agent's own address in DNS or /etc/hosts, or start the Mesos agent with --hostname or --ip"
	switch {
	case len(usable) > 0:
		return usable, ""
	case len(near) > 0:
		return near, fmt.Sprintf("resolves to %s where Relay runs, which only machines on the agent's own link reach%s", near[0], name)
	case len(own) > 0 && isLocalhost(host):
		return own, ""
	case len(own) > 0:
		return own, fmt.Sprintf("resolves to %s where Relay runs, which is each Envoy's own machine and not the agent, unless all run on one%s", own[0], name)
	}
	return nil, fmt.Sprintf("resolves to %s, where nothing can be reached%s", clip(useless[0].String()), name)
}

// isLocalhost reports whether a name means the machine that asks, whatever that is.
func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// lookupReason says why a lookup failed, without the server that was asked: that may
// change each time.
func lookupReason(err error) string {
	if failed, ok := errors.AsType[*net.DNSError](err); ok {
		return clip(failed.Err)
	}
	return clip(err.Error())
}

// agentProblems says what is wrong with the names of agents, one problem an agent.
func (w *Watcher) agentProblems() []problem.Problem {
	notes := w.resolver.notes()
	var problems []problem.Problem
	for _, host := range slices.Sorted(maps.Keys(notes)) {
		if len(problems) == maxAgentProblems {
			return append(problems, problem.Problem{Subject: "agents", Reason: fmt.Sprintf("%d more have such problems", len(notes)-maxAgentProblems)})
		}
		problems = append(problems, problem.Problem{Subject: "agent " + clip(host), Reason: sources.ClipReason(notes[host])})
	}
	return problems
}
