package routing

import (
	"fmt"
	"time"
)

// When Envoy ejects an instance, and for how long: see EjectionRule.
const (
	// ShortestEjection is how long the first ejection lasts. Each further one is longer by
	// as much, up to LongestEjection.
	ShortestEjection = 10 * time.Second
	LongestEjection  = time.Minute
	// MostEjected is the share of the instances, in percent, that may be ejected at a time:
	// one of two, two of three, none of one.
	MostEjected = 67
)

// EjectedAfter is how many connections to an instance must fail one after the other, before
// Envoy ejects it. For HTTP, requests that end without an answer count, so it takes more.
func EjectedAfter(tcp bool) uint32 {
	if tcp {
		return 3
	}
	return 5
}

// EjectionRule says to people when an Envoy sends nothing to an instance for a while.
func EjectionRule() string {
	return fmt.Sprintf("An Envoy that fails to connect to an instance %d times in a row (TCP: %d) sends it nothing for %s, and longer if that happens again, up to %s. "+
		"It never does that to more than two thirds of the instances, so not to the only one.", EjectedAfter(false), EjectedAfter(true), ShortestEjection, LongestEjection)
}
