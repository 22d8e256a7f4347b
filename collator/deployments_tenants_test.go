package collator

import (
	"net/netip"
	"testing"
	"time"

	"relay/sources"
)

// Anybody may say that his app is of a deployment, and that it is the oldest. By that nobody reaches an app past what it asks
// for, or tells it who somebody is.
func TestDeploymentOfOthers(t *testing.T) {
	t.Parallel()
	sso := sources.AppRef{App: "/shop/sso"}
	open, password := &sources.HTTP{}, &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "shop"}}
	networks := &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	asked := &sources.HTTP{SignOn: &sources.SignOn{App: &sources.AuthApp{AppRef: sso}}}
	told := &sources.HTTP{SignOn: &sources.SignOn{App: &sources.AuthApp{AppRef: sso, ResponseHeaders: []string{"x-user"}}}}
	toldByToken := &sources.HTTP{SignOn: &sources.SignOn{JWT: &sources.JWT{Claims: []sources.ClaimHeader{{Claim: "sub", Header: "x-user"}}}}}
	for _, tt := range []struct {
		name     string
		old, new string
		as, is   *sources.HTTP
		apart    bool
	}{
		{"an open app, and one with a password", "/evil/web", "/shop/web", open, password, true},
		{"the other way round", "/shop/web", "/evil/web", password, open, true},
		{"networks", "/evil/web", "/shop/web", nil, networks, true},
		{"sign-on", "/evil/web", "/shop/web", open, asked, true},
		{"sign-on by credentials of others", "/evil/web", "/shop/web", toldByToken, toldByToken, true},
		{"an app that is in no folder", "/evil", "/shop/web", open, password, true},
		{"both are open", "/evil/web", "/shop/web", nil, open, false},
		{"the same password", "/a/web", "/b/web", password, password, false},
		{"of one tenant, whose old labels count", "/shop/old", "/shop/web", open, password, false},
		{"of one tenant, asked now", "/shop/old", "/shop/web", open, asked, false},
		{"of one tenant, told now", "/shop/old", "/shop/web", open, told, true},
		{"of one tenant, told by other means", "/shop/old", "/shop/web", toldByToken, told, false},
		{"of one tenant, told no more", "/shop/old", "/shop/web", told, open, false},
		{"of one tenant, closed before", "/shop/old", "/shop/web", &sources.HTTP{Closed: true}, told, false},
	} {
		c, _ := newTest(t, Config{})
		member := func(id string, hour int, h *sources.HTTP, address string) *sources.App {
			app := changed(webApp(id, "shop.test"), func(p *sources.Port) { p.HTTP = h })
			app.Deployment = &sources.Deployment{Group: "shop", StartedAt: time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC), Instances: 1, TargetInstances: 1}
			app.Ports[0].Endpoints = []sources.Endpoint{{Task: id, Address: netip.MustParseAddrPort(address)}}
			return app
		}
		syncApps(c, member(tt.old, 1, tt.as, "10.0.0.1:1"), member(tt.new, 2, tt.is, "10.0.0.2:1"))
		c.round()
		endpoints, problems := c.Routed("deployment-group/shop").Ports[0].Endpoints, c.problems.of(tt.new)
		apart := len(endpoints) == 1 && endpoints[0].Task == tt.old
		if apart != tt.apart || (len(problems) > 0) != tt.apart {
			t.Errorf("%s: endpoints %+v, problems %q", tt.name, endpoints, problems)
		}
	}
}
