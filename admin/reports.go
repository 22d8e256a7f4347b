package admin

import (
	"time"

	"relay/admin/api"
)

// Load is what Envoys report of requests. Its methods are called from many goroutines at once and
// return at once. They return nil for what no Envoy has reported, and what nobody modifies.
type Load interface {
	// TotalLoad is that of all fleets, FleetLoad that of one.
	TotalLoad() *api.Load
	FleetLoad(fleet string) *api.Load
	// AppLoad is that of all ports of the app with the given id.
	AppLoad(app string) *api.Load
	// PortLoad is that of an app port, by the name of its cluster, and InstanceLoad that of one of
	// its instances, by its address.
	PortLoad(cluster string) *api.Load
	InstanceLoad(cluster, address string) *api.Load
	// EnvoyLoad is what one Envoy reports, and when it last did; zero if never.
	EnvoyLoad(fleet, id string) (*api.Load, time.Time)
	// FillSeries sets the requests and errors of steps, which have a beginning and a length.
	FillSeries(*api.Series)
}

// Failures are the requests that Envoys answered themselves. What holds for Load holds here.
type Failures interface {
	// Failures returns the newest before an id, 0 for the very newest, and how many the query has.
	Failures(FailureQuery) (newest []api.Failure, total int)
	// FailuresAfter returns the oldest after an id, at most limit.
	FailuresAfter(id uint64, limit int) []api.Failure
	// AppFailures and DomainFailures count those of the last hour.
	AppFailures(app string) int
	DomainFailures(domain string) int
	// FailureRate is per second over the last minute, of one fleet or with "" of all.
	FailureRate(fleet string) float64
	// FillSeries sets the failures of steps.
	FillSeries(*api.Series)
}

// FailureQuery says which failures are asked for; what is empty is not asked for.
type FailureQuery struct {
	App, Domain, Fleet, Envoy, Code string
	Before                          uint64
	Limit                           int
}

// History is what was published, and why. What holds for Load holds here.
type History interface {
	// Changes returns the newest before an id, 0 for the very newest, and how many the query has.
	Changes(ChangeQuery) (newest []api.Change, total int)
	// ChangesAfter returns the oldest after an id, at most limit.
	ChangesAfter(id uint64, limit int) []api.Change
	// LastChange is when the last change of an app was published; zero if none is known.
	LastChange(app string) time.Time
	// Convergence is that of the last hour; nil without changes.
	Convergence() *api.Convergence
	// FillSeries sets the changes of steps, and how long they took.
	FillSeries(*api.Series)
}

// ChangeQuery says which changes are asked for; what is empty is not asked for.
type ChangeQuery struct {
	App, Certificate, Text string
	Before                 uint64
	Limit                  int
}

// Rebalance is how connections of TCP services are evened out. What holds for Load holds here.
type Rebalance interface {
	// PortRebalance is nil for the cluster of a port that does not ask for it.
	PortRebalance(cluster string) *api.Rebalance
}

// Waiting is which connections to TCP services wait for their turn. What holds for Load holds here.
type Waiting interface {
	// PortWaiting is nil for the cluster of a port to which none waits.
	PortWaiting(cluster string) *api.WaitingConnections
}

// Scaling is what Relay does with the number of instances of apps. What holds for Load holds here.
type Scaling interface {
	// AppScaling is nil for an app that does not ask for it.
	AppScaling(app string) *api.Scaling
	// Phase is what an app is doing; empty if it does not ask for scaling.
	Phase(app string) string
	// Wakes are the apps for which requests wait, by their ids.
	Wakes() []api.Wake
	// Status sums up all apps. Of those that requests wait for it has all.
	Status() *api.ScalingStatus
}
