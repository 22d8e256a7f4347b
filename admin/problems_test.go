package admin

import (
	"testing"

	"relay/internal/problem"
)

// The kind that people see says what the subject is, whatever the problem is about.
func TestShownProblem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ in, want problem.Problem }{
		"of an app": {
			problem.Problem{Kind: problem.Clash, Fleet: "external", App: "/shop", Subject: "shop.test", Reason: "r"},
			problem.Problem{Kind: problem.App, Subject: "/shop", Item: "shop.test", Reason: "fleet external: r"},
		},
		"of an app as a whole": {
			problem.Problem{Kind: problem.Internal, App: "/shop", Reason: "r"},
			problem.Problem{Kind: problem.App, Subject: "/shop", Reason: "r"},
		},
		"of a certificate": {
			problem.Problem{Kind: problem.Certificate, Subject: "a.pem", Reason: "r"},
			problem.Problem{Kind: problem.Certificate, Subject: "a.pem", Reason: "r"},
		},
		"of a listener": {
			problem.Problem{Kind: problem.HTTPS, Fleet: "external", Subject: "listener https", Reason: "r"},
			problem.Problem{Kind: problem.Certificate, Subject: "listener https", Reason: "fleet external: r"},
		},
		"of a fleet": {
			problem.Problem{Kind: problem.Fleet, Fleet: "extern", Subject: "acme-app", Reason: "r"},
			problem.Problem{Kind: problem.Fleet, Subject: "fleet extern", Item: "acme-app", Reason: "r"},
		},
		"of an Envoy": {
			problem.Problem{Kind: problem.Envoy, Subject: "edge-1", Item: "clusters", Reason: "r"},
			problem.Problem{Kind: problem.Envoy, Subject: "edge-1", Item: "clusters", Reason: "r"},
		},
		"of a source": {
			problem.Problem{Kind: problem.Source, Subject: "vault", Item: "saved certificates", Reason: "r"},
			problem.Problem{Kind: problem.Source, Subject: "vault", Item: "saved certificates", Reason: "r"},
		},
	} {
		if got := shown(test.in); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
