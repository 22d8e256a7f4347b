package routing

import (
	"strings"
	"testing"

	"relay/sources"
)

func TestRateLimitServices(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"": true, "ratelimit.test:8081": true, "[::1]:1": true,
		"ratelimit.test": false, ":8081": false, "ratelimit.test:0": false, "ratelimit.test:x": false, "http://ratelimit.test:1/": false,
	} {
		f := Fleet{RateLimitService: address}
		if err := f.checkRateLimits(); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	onDemand := Fleet{RateLimitService: "ratelimit.test:8081", ClustersOnDemand: true}
	if err := onDemand.checkRateLimits(); err == nil || !strings.Contains(err.Error(), "on-demand") {
		t.Errorf("clusters on demand: %v", err)
	}
}

// TestCountEverywhere holds that only what has a rate is counted by the service, and that the policy of the app stays as
// it is.
func TestCountEverywhere(t *testing.T) {
	t.Parallel()
	rate, size := &sources.RequestLimits{Rate: &sources.Rate{Requests: 1}}, &sources.RequestLimits{MaxBody: 1}
	rules := func() []Rule {
		return []Rule{{HTTP: sources.HTTP{RequestLimits: rate}}, {HTTP: sources.HTTP{RequestLimits: size}}, {}}
	}
	for service, want := range map[string]bool{"": false, "ratelimit.test:8081": true} {
		all := rules()
		f := Fleet{RateLimitService: service}
		f.CountEverywhere(all)
		if all[0].HTTP.RequestLimits.Everywhere != want || all[1].HTTP.RequestLimits.Everywhere || all[2].HTTP.RequestLimits != nil || rate.Everywhere {
			t.Errorf("%q: %+v, the app's own %+v", service, all, rate)
		}
	}
}

// TestLimitedPathsAreGuarded holds that another spelling of a path does not get around its limits.
func TestLimitedPathsAreGuarded(t *testing.T) {
	t.Parallel()
	limited := Rule{Path: sources.Path{Prefix: "/api"}, HTTP: sources.HTTP{RequestLimits: &sources.RequestLimits{MaxBody: 1}}}
	free := Rule{Path: sources.Path{Prefix: "/"}}
	same := free
	same.HTTP.RequestLimits = &sources.RequestLimits{MaxBody: 1}
	if !limited.Guarded([]Rule{free}) || limited.Guarded([]Rule{same}) || free.Guarded([]Rule{limited}) {
		t.Error("a path with a limit, before one without, has to be guarded")
	}
}
