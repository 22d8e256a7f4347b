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
	"relay/internal/problem"
	"relay/sources"
)

// cleanPolicy returns what fleets use of an app, but for its endpoints: domains are
// checked, sorted and without duplicates, and nothing is over the limits. The problems
// say what was left out. Sources are not trusted to do this: one bad name would cost
// all apps.
func cleanPolicy(app *sources.App) (*sources.App, []problem.Problem, error) {
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
		report := func(field, reason string) { problems.AddFailing(fmt.Sprintf("port %d, %s", i, field), "%s", reason) }
		if n := len(port.Groups); n > maxGroups {
			port.Groups = port.Groups[:maxGroups]
			report("groups", fmt.Sprintf("are %d: only the first %d count", n, maxGroups))
		}
		port.Domains = cleanDomains(port.Domains, &left.domains, report)
		port.ACMEDomains = cleanDomains(port.ACMEDomains, &left.acmeDomains, report)
		reportOddDomains(port, report)
		left.limit(port, report)
		if h := port.HTTP; h != nil && len(h.AllowedNetworks) > 0 && len(port.Groups) > 0 {
			own := *h
			own.AllowedNetworks = cleanNetworks(h.AllowedNetworks)
			port.HTTP = &own
		}
	}
	shareClients(clean.Ports)
	return &clean, problems.List(), nil
}

// withEndpoints adds to the policy of an app, as cleanPolicy left it, the endpoints:
// those that Envoy can take, up to the limit. Its problems begin with those of the
// policy and end with those that the source found.
func withEndpoints(app, policy *sources.App, policyProblems []problem.Problem) *sources.App {
	clean := *policy
	clean.Scaling, clean.Orchestration = app.Scaling, app.Orchestration
	clean.Owner = app.Owner
	clean.Version, clean.Notes, clean.Stopped, clean.Unrouted, clean.Labels = app.Version, app.Notes, app.Stopped, app.Unrouted, app.Labels
	clean.Ports = slices.Clone(policy.Ports)
	var problems sources.Problems
	left := maxEndpoints
	for i := range clean.Ports {
		port := &clean.Ports[i]
		port.Excluded = app.Ports[i].Excluded
		report := func(reason string) { problems.Add(fmt.Sprintf("port %d, endpoints", i), "%s", reason) }
		var dropped []string
		port.Endpoints, dropped = routing.CleanEndpoints(app.Ports[i].Endpoints)
		for _, reason := range dropped {
			report(reason)
		}
		if over := len(port.Endpoints) - left; over > 0 {
			port.Endpoints = port.Endpoints[:left]
			report(fmt.Sprintf("%d get no requests: an app has at most %d endpoints, those of all ports together", over, maxEndpoints))
		}
		left -= len(port.Endpoints)
	}
	clean.Problems = fewProblems(app.Problems)
	if found := problems.List(); len(policyProblems)+len(found) > 0 {
		clean.Problems = slices.Concat(policyProblems, found, clean.Problems)
	}
	return &clean
}

// fewProblems returns the first problems. Sources leave out what nobody would read, but
// they are not trusted to.
func fewProblems(problems []problem.Problem) []problem.Problem {
	over := len(problems) - maxProblems
	if over <= 0 {
		return problems
	}
	return append(slices.Clone(problems[:maxProblems]), problem.Problem{Reason: fmt.Sprintf("has %d more problems than are shown", over)})
}

// cleanDomains returns the usable ones of the domains. No more than left are looked at,
// and these are taken off left.
func cleanDomains(domains []string, left *int, report func(field, reason string)) []string {
	if over := len(domains) - *left; over > 0 {
		domains = domains[:*left]
		report("domains", fmt.Sprintf("the last %d do not count: an app has at most %d, those of all ports together", over, maxDomains))
	}
	*left -= len(domains)
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

// reportOddDomains says for which of its domains a port asks for what no client or
// authority can give.
func reportOddDomains(port *sources.Port, report func(field, reason string)) {
	for _, domain := range port.ACMEDomains {
		if why := hostname.NoCertificate(domain); why != "" {
			report("acmeDomains", fmt.Sprintf("no authority gives a certificate for %s by ACME: %s", domain, why))
		}
	}
	if port.TCP == nil || !port.TCP.Passthrough {
		return
	}
	for _, domain := range port.Domains {
		if hostname.IsAddress(domain) {
			report("domains", fmt.Sprintf("TLS for %s is not passed through: clients send no server name for an IP address", domain))
		}
	}
}

// samePolicy reports whether two versions of an app differ at most in their endpoints,
// and in what is for people to read. Either may be nil.
func samePolicy(a, b *sources.App) bool {
	return a == b || a != nil && b != nil && a.ID == b.ID && a.Gated == b.Gated &&
		a.Maintenance == b.Maintenance && routing.Crashed(a) == routing.Crashed(b) && routing.MaySleep(a) == routing.MaySleep(b) &&
		same(a.Deployment, b.Deployment) && slices.EqualFunc(a.Ports, b.Ports, samePortPolicy)
}

func samePortPolicy(a, b sources.Port) bool {
	return a.Name == b.Name && a.Probe == b.Probe && a.RedirectToHTTPS == b.RedirectToHTTPS &&
		sameList(a.Groups, b.Groups) && sameList(a.Domains, b.Domains) && sameList(a.ACMEDomains, b.ACMEDomains) &&
		a.HTTP.Equal(b.HTTP) && a.Upstream.Equal(b.Upstream) && a.TCP.Equal(b.TCP) && (a.Queue == nil) == (b.Queue == nil) && a.Wake == b.Wake && sameList(a.UsedBy, b.UsedBy)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// sameList does not compare a list with itself: an app whose policy is as before shares
// its lists with the version before.
func sameList(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// catchPanic calls f, and returns a panic as an error, so that it costs one app or
// resource only.
func catchPanic[T any](f func() (T, error)) (result T, err error) {
	err = panics.Catch(func() (err error) {
		result, err = f()
		return err
	})
	return result, err
}

// cleanNetworks returns networks of which none is there twice: Envoy would reject the
// listener.
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
