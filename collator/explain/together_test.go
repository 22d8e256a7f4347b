package explain

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// Shares of apps that serve something together are shown as they are: by instances.
func TestExplainTogether(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{})
	app := func(id string, weight uint32, addresses ...string) *sources.App {
		return collatortest.Changed(collatortest.App(id, "shop.test"), func(p *sources.Port) {
			p.HTTP = &sources.HTTP{Service: "shop", ClusterWeight: &weight, Shaping: &sources.Shaping{HostOfInstance: true}}
			p.Endpoints = collatortest.Endpoints(addresses...)
		})
	}
	syncApps(t, c, app("/shop/a", 1, "10.0.0.1:1", "10.0.0.1:2"), app("/shop/b", 5, "10.0.0.2:1"), app("/zeus/c", 1, "10.0.0.3:1"))
	e := Explain(c, "shop.test")
	want := []string{"external: shop.test by shop.test",
		`/ /shop/a_0: serves /shop/a_0=2 /shop/b_0=5; 2 apps share it by their instances, as all serve "shop"; the one with the lowest app id says how requests are handled`,
		`/ /zeus/c_0: loses; port 0 does not get the domain: port 0 of /shop/a has it, and is in another top-level folder, so that the services are two, though both are called "shop"`}
	if diff := cmp.Diff(want, explainedLines(e)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"each instance sees its own address as the host, and that of the request in X-Forwarded-Host"}, e.Domains[0].Rules[0].Handling); diff != "" {
		t.Errorf("handling (-want +got):\n%s", diff)
	}
}
