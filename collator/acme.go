package collator

import (
	"fmt"

	"relay/collator/routing"
	"relay/internal/plural"
	"relay/internal/problem"
)

func wantsACME(c routing.Claim) bool { return c.ACME }

// acmeGap is what keeps ACME challenges of a fleet from being answered. It is zero if nothing
// does.
type acmeGap struct {
	app, lacks string
	domains    int // that ask for them
}

// reportACME says that nothing can answer the ACME challenges that domains of the fleet ask for,
// as the app for that is not there. Without answers no certificate comes.
func (f *fleetState) reportACME() {
	gap := f.acmeGap()
	if gap == f.acmeReported {
		return
	}
	f.acmeReported = gap
	var problems []problem.Problem
	if gap.domains > 0 {
		problems = []problem.Problem{{Subject: "acme-app", Reason: fmt.Sprintf(
			"app %s %s (--acme-app): ACME challenges for %s (MARATHON_ACME_n_DOMAIN) get 503", gap.app, gap.lacks, plural.Of(gap.domains, "domain"))}}
	}
	f.c.problems.set(owner{problem.Fleet, f.Name, inACME, ""}, problems...)
}

func (f *fleetState) acmeGap() acmeGap {
	if f.domains.acme == 0 {
		return acmeGap{}
	}
	switch app := f.c.routed(f.ACMEApp); {
	case app == nil:
		return acmeGap{f.ACMEApp, "is not there", f.domains.acme}
	case len(app.Ports) == 0:
		return acmeGap{f.ACMEApp, "has no port", f.domains.acme}
	}
	return acmeGap{} // if it has no task, that is a problem of the app
}
