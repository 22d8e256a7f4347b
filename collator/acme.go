package collator

import (
	"fmt"

	"relay/collator/routing"
	"relay/internal/problem"
)

func wantsACME(c routing.Claim) bool { return c.ACME }

// reportACME says that nothing can answer the ACME challenges that domains of the fleet ask for,
// as the app for that is not there. Without answers no certificate comes.
func (f *fleetState) reportACME() {
	reason := f.acmeReason()
	if reason == f.acmeReported {
		return
	}
	f.acmeReported = reason
	var problems []problem.Problem
	if reason != "" {
		problems = []problem.Problem{{Subject: "acme-app", Reason: reason}}
	}
	f.c.problems.set(owner{problem.Fleet, f.Name, inACME, ""}, problems...)
}

func (f *fleetState) acmeReason() string {
	if f.domains.acme == 0 {
		return ""
	}
	lacks := ""
	switch app := f.c.routed(f.ACMEApp); {
	case app == nil:
		lacks = "is not there"
	case len(app.Ports) == 0:
		lacks = "has no port"
	default:
		return "" // if it has no task, that is a problem of the app
	}
	return fmt.Sprintf("app %s %s (--acme-app): ACME challenges for %s (MARATHON_ACME_n_DOMAIN) get 503", f.ACMEApp, lacks, counted(f.domains.acme, "domain"))
}
