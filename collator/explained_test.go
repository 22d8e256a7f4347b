package collator

import (
	"encoding/json"
	"testing"

	"relay/collator/routing"
	"relay/sources"
)

// ExplainJSON is package explain, which imports this one: package collator_test sets
// it.
var ExplainJSON func(c *Collator, subject string) []byte

// explanation is what these tests look at of what is explained.
type explanation struct {
	Domains []struct {
		Fleet string
		Rules []struct {
			App, Path, Outcome, Reason string
			Targets                    []struct{ Cluster string }
		}
		HTTPS explainedHTTPS
	}
	Services []struct{ Listener, ServerName, App, Outcome string }
}

type explainedHTTPS struct {
	Certificate, Second *struct{ Secret, ServerName string }
	Others              []struct{ Reason string }
	Notes               []string
}

func explained(c *Collator, subject string) (e explanation) {
	if err := json.Unmarshal(ExplainJSON(c, subject), &e); err != nil {
		panic(err)
	}
	return e
}

// What is explained is what is published, for whatever is claimed by whom.
func TestExplainSaysWhatIsPublished(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c, webApp("/b", "d.test", "*.d.test"), webApp("/a", "d.test", "x.d.test"), set(t, webApp("/c", "d.test"), "PATH=/c", "BACKEND_WEIGHT=-1"))
	for domain, claims := range c.fleets[0].domains.claims {
		view := explained(c, domain).Domains[0]
		rules, losses := routing.RulesOf(claims)
		if len(view.Rules) != len(rules)+len(losses) {
			t.Errorf("%s: %d rules are explained, want %d", domain, len(view.Rules), len(rules)+len(losses))
		}
		for i, r := range rules {
			if got := view.Rules[i]; got.Targets[0].Cluster != r.Targets[0].Cluster || got.Path != r.Path.Prefix {
				t.Errorf("%s: rule %d is %+v, published is %+v", domain, i, got, r)
			}
		}
	}
}

// A TCP service is explained to serve if it is the one that is built.
func TestExplainedServiceIsTheOneThatIsBuilt(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	closed := changed(serviceApp("/closed", sources.TCP{Port: 7000}), func(p *sources.Port) { p.HTTP = &sources.HTTP{Closed: true} })
	quiet := serviceApp("/quiet", sources.TCP{Port: 10000, Implicit: true})
	syncApps(c, serviceApp("/db", sources.TCP{Port: 5432, AcceptProxy: true}), serviceApp("/late", sources.TCP{Port: 5432}), closed, quiet)
	for subject, n := range map[string]int{"tcp/5432": 2, "/late": 2, "tcp/7000": 1, "tcp/10000": 0} {
		services := explained(c, subject).Services
		if len(services) != n {
			t.Errorf("%s: %d services are explained, want %d", subject, len(services), n)
		}
		for _, s := range services {
			if built, ok := c.fleets[0].services.Opened(s.Listener); (ok && built.App == s.App) != (s.Outcome == "serves") {
				t.Errorf("%s: explained as %s, but built for %s: %v", s.App, s.Outcome, built.App, ok)
			}
		}
	}
}
