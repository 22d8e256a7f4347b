package relay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/plural"
	"relay/internal/problem"
	"relay/internal/scrape"
	"relay/sources"
	"relay/traffic"
)

// unreachable returns the instances to which Envoys could not connect lately, of those that
// are in rotation still, each with its task.
func (r *Relay) unreachable() (all []unreachable) {
	for _, u := range r.connections.Unreachable() {
		endpoints := r.collator.Endpoints(u.Cluster)
		i := slices.IndexFunc(endpoints, func(e sources.Endpoint) bool { return e.Address == u.Address })
		if i >= 0 {
			all = append(all, unreachable{u, endpoints[i].Task})
		}
	}
	return all
}

type unreachable struct {
	traffic.Unreachable
	task string
}

// unreachableProblems says which instances Envoys cannot connect to.
func (r *Relay) unreachableProblems() (problems []problem.Problem) {
	for _, u := range r.unreachable() {
		id, port := routing.SplitClusterName(u.Cluster)
		problems = append(problems, problem.Problem{
			Kind: problem.Connection, Fleet: u.Fleet, App: id, Subject: fmt.Sprintf("port %d", port), Item: u.Address.String(),
			Reason: fmt.Sprintf("task %s: %s", u.task, connectionFailure(u.Unreachable)),
		})
	}
	return problems
}

// unreachableInstances says why Envoys could not connect to instances lately, by cluster and
// address.
func (r *Relay) unreachableInstances() map[string]map[string]string {
	reasons := make(map[string]map[string]string)
	for _, u := range r.connections.Unreachable() {
		if reasons[u.Cluster] == nil {
			reasons[u.Cluster] = make(map[string]string)
		}
		reasons[u.Cluster][u.Address.String()] = connectionFailure(u)
	}
	return reasons
}

func connectionFailure(u traffic.Unreachable) string {
	return fmt.Sprintf("Envoys could not connect to it %s since %s, the last time at %s: %s. Requests go to other instances, if there are any. See whether it listens on %s, and whether these Envoys reach that: %s",
		plural.Of(int(u.Failures), "time"), stamp(u.Since), stamp(u.Last), cmp.Or(u.Reason, "no reason was given"), u.Address, strings.Join(u.Envoys, ", "))
}

var unreachableGauge = scrape.NewGauge("relay_unreachable_instances", "Instances in rotation to which an Envoy could not connect in the last minutes.", "fleet")

// countUnreachable counts the instances to which Envoys could not connect lately.
func (r *Relay) countUnreachable(set scrape.Set) {
	counts := make(map[string]int)
	for _, u := range r.unreachable() {
		counts[u.Fleet]++
	}
	for fleet := range r.stores {
		set(unreachableGauge, float64(counts[fleet]), fleet)
	}
}
