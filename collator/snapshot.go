package collator

import (
	"maps"
	"slices"
	"time"

	"relay/collator/routing"
	"relay/sources"
)

// Snapshot is what a Collator knows at one moment. It shares its content with the loop,
// which does not modify it, and so must nobody else.
type Snapshot struct {
	Fleets []*routing.Fleet
	// Routed are the apps as fleets route them, those of a deployment as one, in no
	// order.
	Routed []*sources.App
	// Unrouted are the apps that name domains in vain: see sources.Unrouted.
	Unrouted []*sources.App
	// IDs are those of all apps, in no order.
	IDs []string
	// Certificates are empty until CertificatesKnown: each source has been read.
	Certificates      []CertificateView
	CertificatesKnown bool
	Time              time.Time

	deployments map[string]deployment
}

// Snapshot returns what is known now. It costs a look at every app, and does not wait
// for the loop.
func (c *Collator) Snapshot() Snapshot {
	s := Snapshot{
		Certificates: *c.certificateViews.Load(), CertificatesKnown: c.certificatesSynced.Load(), Time: c.now(),
	}
	for _, f := range c.fleets {
		s.Fleets = append(s.Fleets, &f.Fleet)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	s.Routed = make([]*sources.App, 0, len(c.apps))
	for _, app := range c.apps {
		if app.Deployment == nil {
			s.Routed = append(s.Routed, app)
		}
		if len(app.Unrouted) > 0 {
			s.Unrouted = append(s.Unrouted, app)
		}
	}
	for _, deployment := range c.deployments {
		s.Routed = append(s.Routed, deployment.merged)
	}
	s.IDs = slices.AppendSeq(make([]string, 0, len(c.read)), maps.Keys(c.read))
	s.deployments = maps.Clone(c.deployments)
	return s
}

// Members returns the ids of the apps that are routed under a name.
func (s Snapshot) Members(routed string) []string {
	if deployment, ok := s.deployments[routed]; ok {
		return slices.Sorted(maps.Keys(deployment.members))
	}
	return []string{routed}
}
