package collator

import (
	"fmt"
	"slices"
	"strings"

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
	// Asleep are those of which the first request starts the app.
	Asleep int
	// WithoutCertificate are those of fleets with an https listener that have none which
	// clients accept. Of these, nobody asks for one for NotWanted.
	WithoutCertificate, NotWanted int
	// Closed are those of which nobody is let in, by some path or by any: a restriction that an app asks for cannot be kept.
	Closed int
	// LeftOut are the domains that apps in a fleet name in vain: see sources.Unrouted.
	LeftOut int
	// CertificatesUnknown is set if a fleet has an https listener and certificates have not been
	// read.
	CertificatesUnknown bool
	// InNoFleet are the apps that want domains or a TCP port and are in no fleet.
	InNoFleet int
}

// Served counts what is served. It costs nothing.
func (c *Collator) Served() Served {
	if !c.AppsSynced() {
		return Served{}
	}
	x := c.catalog
	x.mu.Lock()
	s := x.served
	s.Known, s.LeftOut, s.InNoFleet, s.Closed = true, x.leftOut, x.inNoFleet, len(x.closed)
	x.mu.Unlock()
	v := c.coverage
	v.mu.RLock()
	defer v.mu.RUnlock()
	s.CertificatesUnknown = !v.known && len(v.fleets) > 0
	s.WithoutCertificate, s.NotWanted = len(v.uncovered), len(v.uncovered)-v.wanted
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

// All reports whether everything is served that apps ask for.
func (s Served) All() bool {
	return s.Known && !s.CertificatesUnknown && s.WithoutTask+s.WithoutCertificate-s.NotWanted+s.Closed+s.LeftOut+s.InNoFleet == 0
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
	certificates := func() {
		if len(parts) == 1 && s.WithoutTask > 0 {
			say(s.WithoutCertificate, "has no certificate", "have no certificate")
		} else {
			say(s.WithoutCertificate, "domain has no certificate", "domains have no certificate")
		}
		if s.NotWanted > 0 {
			parts[len(parts)-1] += askForNone(s.NotWanted, s.WithoutCertificate)
		}
	}
	// What nobody misses comes after what somebody may.
	missed := s.WithoutCertificate > s.NotWanted
	if missed {
		certificates()
	}
	say(s.Closed, "domain is closed (403)", "domains are closed (403)")
	say(s.LeftOut, "domain is left out", "domains are left out")
	say(s.InNoFleet, "app is in no fleet", "apps are in no fleet")
	if !missed {
		certificates()
	}
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
	say(s.Stopped, "domain is of an app that is scaled to 0", "domains are of apps that are scaled to 0")
	say(s.Asleep, "domain is of an app that sleeps", "domains are of apps that sleep")
	return strings.Join(parts, ", ")
}

// askForNone says of how many of the domains without a certificate nobody wants one.
func askForNone(n, all int) string {
	switch {
	case n == 1 && all == 1:
		return " (and asks for none)"
	case n == all:
		return " (and ask for none)"
	case n == 1:
		return " (1 of them asks for none)"
	}
	return fmt.Sprintf(" (%d of them ask for none)", n)
}
