package problem

import "slices"

// Severity says what a Problem costs.
type Severity string

// The severities, the worst first.
const (
	// Failing costs requests or connections now, or keeps changes from Envoys.
	Failing Severity = "failing"
	// Ignored is something that was asked for and is not done; the rest works.
	Ignored Severity = "ignored"
	// Advice costs nothing now.
	Advice Severity = "advice"
)

var severities = []Severity{Failing, Ignored, Advice}

// Compare orders severities, the worst first.
func (s Severity) Compare(other Severity) int {
	return slices.Index(severities, s) - slices.Index(severities, other)
}

// kindDefault is what holds for the problems of a kind that do not say otherwise.
type kindDefault struct {
	severity Severity
	action   string
}

var kindDefaults = map[Kind]kindDefault{
	App:         {Ignored, "change the app's definition; docs/labels.md has all labels"},
	Clash:       {Failing, "let one of the apps give it up: change its domain, path or port"},
	HTTPS:       {Failing, "see whether marathon-acme runs and the domain asks for a certificate (MARATHON_ACME_n_DOMAIN), or put one into the store"},
	TCP:         {Failing, "change the app's port or mode, or --tcp of the fleet"},
	Tasks:       {Failing, "look at the app's tasks, health checks and log in Marathon"},
	Fleet:       {Failing, "see the settings of the fleet, and which apps name it"},
	Certificate: {Ignored, "have it issued again, replace it, or remove it from the store"},
	Resource:    {Failing, "change what the app asks for: Envoy would refuse it as it is"},
	Internal:    {Failing, "this is a bug in Relay: report it, with the stack that is in the log"},
	Source:      {Failing, "see whether it runs, is reached from here, and lets Relay in"},
	Connection:  {Failing, "see whether the task listens there, and what is between it and the Envoy"},
	Envoy:       {Failing, "docs/rejections.md says what to do"},
	Unserved:    {Ignored, "name a fleet in HAPROXY_GROUP (in a YAML file: groups)"},
}

// Complete returns the problem with its severity and action.
func (p Problem) Complete() Problem {
	of := kindDefaults[p.Kind]
	if p.Severity == "" {
		p.Severity = of.severity
	}
	if p.Action == "" {
		p.Action = of.action
	}
	return p
}

// MayBeMeant reports whether all may be as people want it: an app may be in a group of
// another load balancer.
func (p Problem) MayBeMeant() bool { return p.Kind == Unserved && p.Severity == Advice }
