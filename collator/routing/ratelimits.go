package routing

import (
	"fmt"
	"net"
	"strconv"
)

// RateLimitCluster is the cluster of a fleet's RateLimitService. No app is called so: ids begin with a slash.
const RateLimitCluster = "rate-limits"

// CountEverywhere has the requests of rules with a rate counted by the service of the fleet, if it has one.
func (f *Fleet) CountEverywhere(rules []Rule) {
	if f.RateLimitService == "" {
		return
	}
	for i := range rules {
		if l := rules[i].HTTP.RequestLimits; l != nil && l.Rate != nil {
			everywhere := *l
			everywhere.Everywhere = true
			rules[i].HTTP.RequestLimits = &everywhere
		}
	}
}

// checkRateLimits returns what is wrong with the address of the service.
func (f *Fleet) checkRateLimits() error {
	if f.RateLimitService == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(f.RateLimitService)
	n, portErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || portErr != nil || host == "" || n == 0:
		return fmt.Errorf("has rate-limit-service: %s: write a host and a port, such as ratelimit.internal:8081", f.RateLimitService)
	case f.ClustersOnDemand:
		return fmt.Errorf("has rate-limit-service and clusters: on-demand: Envoys load clusters on demand for routes alone, so they would never reach the service")
	}
	return nil
}
