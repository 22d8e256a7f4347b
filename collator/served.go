package collator

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/sources"
)

// Served counts what is served as apps ask for it, and what is not.
type Served struct {
	// Known is false until apps have been read. Then nothing else is set.
	Known bool
	// Domains are those that some fleet routes.
	Domains int
	// WithoutTask are those of which requests find no task in rotation, and Stopped those of
	// which that is meant: the app is scaled to 0.
	WithoutTask, Stopped int
	// WithoutCertificate are those of fleets with an https listener that have none which
	// clients accept. Of these, nobody asks for one for NotWanted.
	WithoutCertificate, NotWanted int
	// LeftOut are the domains that apps in a fleet name in vain: see sources.Unrouted.
	LeftOut int
	// CertificatesUnknown is set if a fleet has an https listener and certificates have not been
	// read.
	CertificatesUnknown bool
	// InNoFleet are the apps that want domains or a TCP port and are in no fleet.
	InNoFleet int
}

// Served counts what is served. It costs a look at every app.
func (c *Collator) Served() Served {
	if !c.AppsSynced() {
		return Served{}
	}
	s := Served{Known: true}
	snapshot := c.Snapshot()
	c.mu.RLock()
	for _, app := range c.apps {
		if c.inNoFleet(app) {
			s.InNoFleet++
		}
		s.LeftOut += c.leftOut(app)
	}
	c.mu.RUnlock()
	served, without := c.servedDomains(snapshot.Routed)
	s.Domains = len(served)
	for _, stopped := range without {
		if stopped {
			s.Stopped++
		} else {
			s.WithoutTask++
		}
	}
	seen := make(map[string]bool) // whether it is wanted
	uncovered, known := c.UncoveredDomains()
	s.CertificatesUnknown = !known && len(c.coverage.fleets) > 0
	for _, u := range uncovered {
		seen[u.Domain] = seen[u.Domain] || u.Wanted
	}
	s.WithoutCertificate = len(seen)
	for _, wanted := range seen {
		if !wanted {
			s.NotWanted++
		}
	}
	return s
}

// leftOut counts the domains that an app names in vain, unless it is in no fleet, or that is
// meant.
func (c *Collator) leftOut(app *sources.App) (n int) {
	if len(app.Ports) > 0 && !slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return slices.ContainsFunc(p.Groups, c.isFleet) }) {
		return 0
	}
	for _, u := range app.Unrouted {
		if !u.Meant {
			n++
		}
	}
	return n
}

// servedDomains returns the domains that fleets route, and those of them of which requests
// find no task: whether all of the apps at fault are scaled to 0.
func (c *Collator) servedDomains(apps []*sources.App) (served map[string]struct{}, without map[string]bool) {
	served, without = make(map[string]struct{}), make(map[string]bool)
	doubtful := make(map[string]struct{})
	for _, app := range apps {
		for i, port := range app.Ports {
			if routing.IsTCP(port) && !port.TCP.Passthrough || !slices.ContainsFunc(port.Groups, c.isFleet) {
				continue
			}
			empty := c.empty.says(routing.AppPort{App: app.ID, Port: i}) != inRotation
			for _, domain := range port.Domains {
				served[domain] = struct{}{}
				if empty {
					doubtful[domain] = struct{}{}
				}
			}
		}
	}
	if len(doubtful) > 0 {
		for _, f := range c.fleets {
			c.findWithout(f, apps, doubtful, without)
		}
	}
	return served, without
}

// findWithout adds those of the domains of which requests to a fleet find no task: another
// app may have a domain in place of the one without tasks.
func (c *Collator) findWithout(f *fleetState, apps []*sources.App, domains map[string]struct{}, without map[string]bool) {
	claims := make(map[string][]routing.Claim)
	note := func(domain string, targets ...routing.AppPort) {
		stopped := 0
		for _, target := range targets {
			switch c.empty.says(target) {
			case inRotation:
				return
			case isStopped:
				stopped++
			}
		}
		meant, known := without[domain]
		without[domain] = stopped == len(targets) && (meant || !known)
	}
	for _, app := range apps {
		for _, port := range app.Ports {
			if !slices.ContainsFunc(port.Domains, func(d string) bool { _, ok := domains[d]; return ok }) {
				continue
			}
			for domain, wanted := range f.ClaimsOf(app) {
				if _, asked := domains[domain]; asked {
					claims[domain] = append(claims[domain], wanted...)
				}
			}
			break
		}
		services, _ := f.ServicesOf(app.ID, app)
		for _, s := range services {
			for _, name := range s.Names {
				if _, asked := domains[name]; asked {
					note(name, s.AppPort)
				}
			}
		}
	}
	for domain, wanting := range claims {
		slices.SortFunc(wanting, routing.CompareClaims)
		rules, _ := routing.RulesOf(wanting)
		for _, rule := range rules {
			var targets []routing.AppPort
			for _, target := range rule.Targets {
				id, port := routing.SplitClusterName(target.Cluster)
				targets = append(targets, routing.AppPort{App: id, Port: port})
			}
			note(domain, targets...)
		}
	}
}

// All reports whether everything is served that apps ask for.
func (s Served) All() bool {
	return s.Known && !s.CertificatesUnknown && s.WithoutTask+s.WithoutCertificate-s.NotWanted+s.LeftOut+s.InNoFleet == 0
}

// String is one sentence of all that is not zero.
func (s Served) String() string {
	if !s.Known {
		return "apps have not been read yet"
	}
	var parts []string
	say := func(n int, one, several string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, several))
		}
	}
	say(s.WithoutTask, "domain has no task", "domains have no task")
	if len(parts) == 0 {
		say(s.WithoutCertificate, "domain has no certificate", "domains have no certificate")
	} else {
		say(s.WithoutCertificate, "has no certificate", "have no certificate")
	}
	if s.NotWanted > 0 {
		parts[len(parts)-1] += fmt.Sprintf(" (nobody asks for one for %s)", ofThem(s.NotWanted, s.WithoutCertificate))
	}
	say(s.LeftOut, "domain is left out", "domains are left out")
	say(s.InNoFleet, "app is in no fleet", "apps are in no fleet")
	if len(parts) == 0 {
		switch s.Domains {
		case 0:
			parts = []string{"no domain is served"}
		case 1:
			parts = []string{"the 1 domain is served"}
		default:
			parts = []string{fmt.Sprintf("all %d domains are served", s.Domains)}
		}
	}
	if s.CertificatesUnknown {
		parts = append(parts, "certificates have not been read yet")
	}
	say(s.Stopped, "is of an app that is scaled to 0", "are of apps that are scaled to 0")
	return strings.Join(parts, ", ")
}

func ofThem(n, all int) string {
	switch {
	case n == all && n == 1:
		return "it"
	case n == all:
		return "them"
	}
	return fmt.Sprintf("%d of them", n)
}
