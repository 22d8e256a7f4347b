package explain

import (
	"strings"
	"testing"

	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// A name of a service whose TLS Envoy ends gets no requests by HTTP, and nothing is wrong with that.
func TestExplainNameOfServiceTLS(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{})
	service := func(id string, domains ...string) *sources.App {
		return collatortest.Changed(collatortest.ServiceApp(id, sources.TCP{Port: 8883, ServiceTLS: &sources.ServiceTLS{}}), func(p *sources.Port) { p.Domains = domains })
	}
	syncApps(t, c, service("/imp", "devices.test", "*.tenants.test"), service("/late", "late.test"), collatortest.App("/shop", "shop.test"))
	for subject, want := range map[string]string{"devices.test": "/imp", "Devices.Test": "/imp", "a.tenants.test": "/imp", "*.tenants.test": "/imp", "shop.test": "", "late.test": ""} {
		e := Explain(c, subject)
		var serving []string
		for _, s := range e.Services {
			serving = append(serving, s.App)
		}
		if got := strings.Join(serving, " "); got != want {
			t.Errorf("%s: served by the services %q, want %q", subject, got, want)
		}
		if inVain := len(e.LeftOut) > 0; inVain != (subject == "late.test") {
			t.Errorf("%s: asked for in vain: %v", subject, e.LeftOut)
		}
	}
	if e := Explain(c, "devices.test"); len(e.Needs["external"]) < 2 {
		t.Errorf("Envoys need %v for the name, want the listener and the cluster", e.Needs)
	}
}
