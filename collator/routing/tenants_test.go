package routing_test

import (
	"strings"
	"testing"

	"relay/collator/routing"
	"relay/sources"
)

// Where people sign on, apps of other tenants get no share: the app with the lowest id says by its credentials who is
// let in, and by its own headers who somebody is.
func TestSharesWithSignOn(t *testing.T) {
	t.Parallel()
	weight := uint32(1)
	signOn := &sources.SignOn{JWT: &sources.JWT{Issuer: "i", Keys: "keys", Audiences: []string{"a"}}}
	for _, tt := range []struct {
		first, second string
		signOn        *sources.SignOn
		shares        bool
	}{
		{"/evil/web", "/shop/web", signOn, false},
		{"/evil", "/shop/web", signOn, false},
		{"deployment-group/a", "deployment-group/b", signOn, false},
		{"/shop/web", "deployment-group/shop", signOn, false},
		{"/shop/canary", "/shop/web", signOn, true},
		{"/canary", "/web", signOn, true},
		{"/evil/web", "/shop/web", nil, true},
	} {
		claim := func(app string) routing.Claim {
			return routing.Claim{AppPort: routing.AppPort{App: app}, Route: true, HTTP: &sources.HTTP{ClusterWeight: &weight, SignOn: tt.signOn}}
		}
		rules, losses := routing.RulesOf([]routing.Claim{claim(tt.first), claim(tt.second)})
		if shares := len(rules[0].Targets) == 2; shares != tt.shares || len(losses) == 1 == shares {
			t.Errorf("%s and %s: shares %v, losses %v", tt.first, tt.second, shares, losses)
		}
		if !tt.shares && !strings.Contains(losses[0].String(), "top-level folder") {
			t.Error(losses[0])
		}
	}
}
