package labels

import (
	"fmt"
	"strings"
	"unicode"

	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
)

// maxPortsNamed is how many declared ports people are told of.
const maxPortsNamed = 5

// noSuchPort says of a label for a port that the app does not declare which ports there are.
func (r *reader) noSuchPort(split portKey, key, value string) {
	one := problem.Problem{Subject: key}
	if split.name == "VHOST" || split.name == "PORT" {
		one.Severity = problem.Failing
	}
	names := make([]string, 0, maxPortsNamed)
	for _, d := range r.declared[:min(len(r.declared), maxPortsNamed)] {
		if d.Name != "" {
			names = append(names, sources.Clip(d.Name))
		}
	}
	typed := sources.Clip(split.port)
	known := "0"
	if last := len(r.declared) - 1; last > 0 {
		known = fmt.Sprintf("an index from 0 to %d", last)
	}
	if len(names) > 0 {
		known += " or a port's name (" + strings.Join(names, ", ") + ")"
	}
	r.problems.AddTo(one, "names port %s, but the app declares %s, counted from 0: write %s in place of %s, or declare one more port (portDefinitions, or portMappings of its container)",
		typed, ports(len(r.declared)), known, typed)
	r.leaveOut(split.name, key, value, fmt.Sprintf("it names port %s, and the app declares %s", typed, ports(len(r.declared))))
}

func ports(n int) string {
	if n == 1 {
		return "1 port"
	}
	return fmt.Sprintf("%d ports", n)
}

// leaveOut remembers the domains of a label that leads to no port. name is that of the label.
func (r *reader) leaveOut(name, key, value, why string) {
	if name != "VHOST" || len(value) > sources.MaxSettingBytes {
		return
	}
	for _, field := range strings.FieldsFunc(value, isBetweenDomains) {
		if len(r.unrouted) == sources.MaxUnrouted {
			return
		}
		domain, _, _ := hostname.Bare(field)
		if normal, err := hostname.Domain(domain); err == nil {
			domain = normal
		}
		r.notRouted(sources.Unrouted{Domain: domain}, key, why)
	}
}

// notRouted remembers a domain that is not routed. key is the label that names it.
func (r *reader) notRouted(one sources.Unrouted, key, why string) {
	if len(r.unrouted) < sources.MaxUnrouted {
		one.Domain, one.Reason = sources.Clip(one.Domain), sources.Clip(key)+": "+why
		r.unrouted = append(r.unrouted, one)
	}
}

// isBetweenDomains tells what separates the domains of a value.
func isBetweenDomains(c rune) bool { return c == ',' || unicode.IsSpace(c) }
