package collator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"

	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/internal/panics"
	"relay/sources"
)

// mapPolicy returns the app as the fleets use it, but for its endpoints: domains
// checked, sorted and without duplicates, and nothing over the limits. What it
// leaves out are the problems. A source is not trusted to have done so: one bad
// name would cost all apps.
func mapPolicy(app *sources.App) (*sources.App, []sources.Problem, error) {
	switch {
	case app.ID == "":
		return nil, nil, errors.New("has no id")
	case !utf8.ValidString(app.ID):
		return nil, nil, errors.New("has an id that is not UTF-8")
	}
	clean := *app
	clean.Ports = slices.Clone(app.Ports)
	var problems sources.Problems
	left := newBudget()
	for i := range clean.Ports {
		port := &clean.Ports[i]
		report := func(field, reason string) { problems.Add(fmt.Sprintf("port %d, %s", i, field), "%s", reason) }
		if n := len(port.Groups); n > maxGroups {
			port.Groups = port.Groups[:maxGroups]
			report("groups", fmt.Sprintf("are %d: only the first %d count", n, maxGroups))
		}
		port.Domains = cleanDomains(port.Domains, &left.domains, report)
		port.ACMEDomains = cleanDomains(port.ACMEDomains, &left.acmeDomains, report)
		left.limit(port, report)
		if h := port.HTTP; h != nil && len(h.AllowedNetworks) > 0 && len(port.Groups) > 0 {
			own := *h
			own.AllowedNetworks = cleanNetworks(h.AllowedNetworks)
			port.HTTP = &own
		}
	}
	return &clean, problems.List(), nil
}

// withEndpoints returns the mapped form of an app whose policy is mapped already:
// its endpoints checked, and those within the limit. What is wrong with what is
// routed comes first of its problems, then what the source told.
func withEndpoints(app, policy *sources.App, left []sources.Problem) *sources.App {
	mapped := *policy
	mapped.Version = app.Version
	mapped.Ports = slices.Clone(policy.Ports)
	var problems sources.Problems
	room := maxEndpoints
	for i := range mapped.Ports {
		port := &mapped.Ports[i]
		port.Excluded = app.Ports[i].Excluded
		report := func(reason string) { problems.Add(fmt.Sprintf("port %d, endpoints", i), "%s", reason) }
		var dropped []string
		port.Endpoints, dropped = routing.CleanEndpoints(app.Ports[i].Endpoints)
		for _, reason := range dropped {
			report(reason)
		}
		if over := len(port.Endpoints) - room; over > 0 {
			port.Endpoints = port.Endpoints[:room]
			report(fmt.Sprintf("%d get no requests: an app has at most %d endpoints, those of all ports together", over, maxEndpoints))
		}
		room -= len(port.Endpoints)
	}
	mapped.Problems = slices.Concat(left, problems.List(), fewProblems(app.Problems))
	return &mapped
}

// fewProblems leaves out those that nobody would read, of a source that does not.
func fewProblems(problems []sources.Problem) []sources.Problem {
	over := len(problems) - maxProblems
	if over <= 0 {
		return problems
	}
	return append(slices.Clone(problems[:maxProblems]), sources.Problem{Reason: fmt.Sprintf("has %d more problems than are shown", over)})
}

// cleanDomains takes room for as many domains as there is room for.
func cleanDomains(domains []string, room *int, report func(field, reason string)) []string {
	if over := len(domains) - *room; over > 0 {
		domains = domains[:*room]
		report("domains", fmt.Sprintf("the last %d do not count: an app has at most %d, those of all ports together", over, maxDomains))
	}
	*room -= len(domains)
	clean := make([]string, 0, len(domains))
	for _, domain := range domains {
		if len(domain) > maxDomainBytes {
			report("domains", fmt.Sprintf("%.20q… has more than %d bytes", domain, maxDomainBytes))
			continue
		}
		normal, err := hostname.Domain(domain)
		if err != nil {
			report("domains", err.Error())
			continue
		}
		clean = append(clean, normal)
	}
	slices.Sort(clean)
	return slices.Compact(clean)
}

// samePolicy reports whether two forms of an app say the same of all but its
// endpoints and what is for people to read.
func samePolicy(a, b *sources.App) bool {
	return a == b || a != nil && b != nil && a.ID == b.ID &&
		same(a.Deployment, b.Deployment) && slices.EqualFunc(a.Ports, b.Ports, samePortPolicy)
}

func samePortPolicy(a, b sources.Port) bool {
	return a.Name == b.Name && a.RedirectToHTTPS == b.RedirectToHTTPS &&
		sameList(a.Groups, b.Groups) && sameList(a.Domains, b.Domains) && sameList(a.ACMEDomains, b.ACMEDomains) &&
		a.HTTP.Equal(b.HTTP) && a.Upstream.Equal(b.Upstream) && same(a.TCP, b.TCP)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// sameList does not look into a list that is one and the same: mapped apps share
// theirs with the form before.
func sameList(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// guarded calls f and turns a panic into an error, so that it costs one thing
// only.
func guarded[T any](f func() (T, error)) (result T, err error) {
	err = panics.Catch(func() (err error) {
		result, err = f()
		return err
	})
	return result, err
}

// cleanNetworks returns networks of which none is there twice: Envoy refuses a
// listener for that. Nothing is returned for nothing.
func cleanNetworks(networks []netip.Prefix) []netip.Prefix {
	clean := slices.Clone(networks)
	for i, network := range clean {
		if network.IsValid() {
			clean[i] = network.Masked()
		}
	}
	slices.SortFunc(clean, netip.Prefix.Compare)
	return slices.Compact(clean)
}
