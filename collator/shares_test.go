package collator

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

// servingWeb is an app that serves web.test together with others.
func servingWeb(id string, addresses ...string) *sources.App {
	weight := uint32(1)
	return changed(webApp(id, "web.test", id[1:2]+".test"), func(p *sources.Port) {
		p.HTTP, p.Endpoints = &sources.HTTP{Service: "web", ClusterWeight: &weight}, endpoints(addresses...)
	})
}

// The number of instances changes the scopes alone of domains that several apps serve.
func TestSharesFollowInstances(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{})
	syncApps(c, servingWeb("/a", "10.0.0.1:1"), servingWeb("/b", "10.0.0.2:1"))
	r.Touched()
	draining := changed(servingWeb("/b", "10.0.0.2:1", "10.0.0.3:1"), func(p *sources.Port) {
		p.Endpoints = slices.Clone(p.Endpoints)
		p.Endpoints[0].Health = sources.Draining
	})
	for _, step := range []struct {
		name string
		app  *sources.App
		want []string
	}{
		{"one more", servingWeb("/b", "10.0.0.2:1", "10.0.0.3:1"), []string{`set endpoints "/b_0"`, `set scopes "web.test"`}},
		{"one moves", servingWeb("/b", "10.0.0.2:1", "10.0.0.4:1"), []string{`set endpoints "/b_0"`}},
		{"one ends", draining, []string{`set endpoints "/b_0"`, `set scopes "web.test"`}},
		{"none", servingWeb("/b"), []string{`set endpoints "/b_0"`, `set scopes "web.test"`}},
		{"alone", servingWeb("/a", "10.0.0.1:1", "10.0.0.5:1"), []string{`set endpoints "/a_0"`, `set scopes "web.test"`}},
	} {
		updateApps(c, step.app)
		if diff := cmp.Diff(step.want, r.Touched()); diff != "" {
			t.Errorf("%s: published (-want +got):\n%s", step.name, diff)
		}
	}
	if n := c.TakingNew("/a_0"); n != 2 {
		t.Errorf("%d instances take new requests", n)
	}
}
