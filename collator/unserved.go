package collator

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/plural"
	"relay/internal/problem"
	"relay/sources"
)

// maxWanted is how many domains people are told of that a port wants.
const maxWanted = 3

// wants reports whether a port asks for requests or connections from outside.
func wants(port sources.Port) bool {
	return len(port.Domains)+len(port.ACMEDomains) > 0 || routing.IsTCP(port) && port.TCP.Port != 0
}

// unserved reports whether a port wants something, and no fleet serves it.
func (c *Collator) unserved(id string, port sources.Port) bool {
	return wants(port) && id != c.cfg.ACMEApp && !slices.ContainsFunc(port.Groups, c.isFleet)
}

// inNoFleet reports whether an app wants something, and no fleet serves anything of it.
func (c *Collator) inNoFleet(app *sources.App) bool {
	found := false
	for _, port := range app.Ports {
		switch {
		case !wants(port):
		case !c.unserved(app.ID, port):
			return false
		default:
			found = true
		}
	}
	return found
}

// unservedProblems says of an app that it wants domains or TCP ports and is in no fleet.
// Ports with a group that was likely meant to be a fleet have a problem already.
func (c *Collator) unservedProblems(app *sources.App) []problem.Problem {
	var first *problem.Problem
	more := 0
	for i, port := range app.Ports {
		if !c.unserved(app.ID, port) || c.nearFleet(port.Groups) {
			continue
		}
		if first != nil {
			more++
			continue
		}
		one := c.unservedProblem(port)
		one.Subject = fmt.Sprintf("port %d", i)
		first = &one
	}
	if first == nil {
		return nil
	}
	if more > 0 {
		first.Reason += fmt.Sprintf("; so it is with %s more", plural.Of(more, "port"))
	}
	return []problem.Problem{*first}
}

// logUnserved logs once that an app is in no fleet, unless that may be meant.
func (c *Collator) logUnserved(id string, problems []problem.Problem) {
	_, logged := c.loggedUnserved[id]
	if len(problems) == 0 || problems[0].Severity == problem.Advice {
		delete(c.loggedUnserved, id)
		return
	}
	if !logged {
		c.loggedUnserved[id] = struct{}{}
		c.log.Warn("an app is in no fleet", "event", "app_unserved", "app", id, "subject", problems[0].Subject, "reason", problems[0].Reason)
	}
}

func (c *Collator) unservedProblem(port sources.Port) problem.Problem {
	fleets := firstFew(c.fleetNames())
	if len(port.Groups) == 0 {
		return problem.Problem{Reason: fmt.Sprintf("wants %s and is in no group, so no fleet serves it: set HAPROXY_GROUP (in a YAML file: groups; fleets: %s)", wanted(port), fleets)}
	}
	group := sources.Clip(port.Groups[0])
	return problem.Problem{
		Severity: problem.Advice, Item: group, Reason: fmt.Sprintf("wants %s, and its group %s is no fleet here (fleets: %s), so no fleet serves it", wanted(port), group, fleets),
		Action: "nothing, if another load balancer serves the group; else correct HAPROXY_GROUP (in a YAML file: groups), or the name of the fleet (--fleet)",
	}
}

// nearFleet reports whether one of the groups was likely meant to be a fleet.
func (c *Collator) nearFleet(groups []string) bool {
	names := c.fleetNames()
	return slices.ContainsFunc(groups[:min(len(groups), maxGroupsCompared)], func(group string) bool { return routing.NearFleet(group, names) != "" })
}

func (c *Collator) fleetNames() (names []string) {
	for _, f := range c.fleets {
		names = append(names, f.Name)
	}
	return names
}

// wanted names what a port wants.
func wanted(port sources.Port) string {
	domains := slices.Concat(port.Domains, port.ACMEDomains)
	if len(domains) == 0 {
		return fmt.Sprintf("TCP port %d", port.TCP.Port)
	}
	slices.Sort(domains)
	domains = slices.Compact(domains)
	list := strings.Join(domains[:min(len(domains), maxWanted)], ", ")
	if over := len(domains) - maxWanted; over > 0 {
		list += fmt.Sprintf(" and %d more", over)
	}
	return list
}
