package xds

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Rejection is a response that Envoy rejected.
type Rejection struct {
	Type     Type
	Revision uint64
	Time     time.Time
	// Message is what Envoy said.
	Message string
	// Names are the resources the response carried.
	Names []string
	Reach Reach
}

// StreamStatus is what is known of one Envoy.
type StreamStatus struct {
	Fleet, NodeID, Version, Zone string
	// Address is the peer's, as Relay sees it.
	Address string
	Since   time.Time
	// CertificateExpires is when the certificate that the Envoy showed expires;
	// zero if it showed none.
	CertificateExpires time.Time
	Types              []TypeStatus
	// NoClusters tells that it has not asked for clusters for a while, though it has to
	// without being told.
	NoClusters bool
}

// TypeStatus is the state of one type on the stream of an Envoy.
type TypeStatus struct {
	Type Type
	// Subscribed is "*" or the number of names.
	Subscribed string
	// Resources is how many the Envoy has.
	Resources int
	// Sent and Acked are revisions of the store. They may be older than the store's: nothing
	// is due while Behind is 0.
	Sent, Acked     uint64
	SentAt, AckedAt time.Time
	InFlight        bool
	// Behind counts the resources that are due to be sent or removed.
	Behind     int
	Rejections int
	// Rejected is the last rejection.
	Rejected *Rejection
	// Stale are the resources whose present version the Envoy does not have, since it, or
	// others of its version, rejected that. They are ordered by name, and no more than
	// maxStale.
	Stale []StaleResource
	// StaleCount counts them all.
	StaleCount int
}

// maxStale bounds what is listed of one type.
const maxStale = 20

// StaleResource is a resource whose present version an Envoy does not have.
type StaleResource struct {
	Name string
	// RejectedItself tells that the Envoy itself rejected the version. Else several others of
	// its version did, and none of them acknowledged it.
	RejectedItself bool
	Since          time.Time
	// Message is what the Envoy, or the first of the others, said.
	Message string
	// Retry is when the version is offered again.
	Retry time.Time
	// HasOlder tells that the Envoy has an older version.
	HasOlder bool
}

// status returns the state of all types the Envoy asked for.
func (s *session) status() []TypeStatus {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []TypeStatus
	for t := range s.types {
		ts := &s.types[t]
		if !ts.subscribed {
			continue
		}
		ts.collectChanges(&s.store.tables[t], s.store.revision)
		status := TypeStatus{
			Type: Type(t), Subscribed: strconv.FormatUint(ts.names.GetCardinality(), 10), Resources: int(ts.inEnvoy.GetCardinality()),
			Sent: ts.sent, Acked: ts.acked, SentAt: ts.sentAt, AckedAt: ts.ackedAt, InFlight: ts.inFlight != nil,
			Behind:     int(ts.toSend.GetCardinality() + ts.toRemove.GetCardinality()),
			Rejections: ts.rejections, Rejected: ts.lastRejection, StaleCount: len(ts.stale),
		}
		if ts.wildcard {
			status.Subscribed = "*"
		}
		for _, id := range slices.Sorted(maps.Keys(ts.stale)) {
			if len(status.Stale) == maxStale {
				break
			}
			status.Stale = append(status.Stale, ts.staleResource(&s.store.tables[t], id))
		}
		slices.SortFunc(status.Stale, func(a, b StaleResource) int { return cmp.Compare(a.Name, b.Name) })
		all = append(all, status)
	}
	return all
}

// noClusters reports whether an Envoy should have asked for clusters by now.
func (s *session) noClusters(now time.Time) bool {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := &s.types[Cluster]
	return !ts.subscribed && ts.kept == nil && !s.startedAt.IsZero() && !s.store.ClustersOnDemand && !s.expectsType(Cluster, now)
}

// staleResource says why a resource is stale.
func (ts *typeState) staleResource(t *table, id uint32) StaleResource {
	stale := StaleResource{Name: t.entries[id].name, HasOlder: ts.inEnvoy.Contains(id), Retry: ts.stale[id].retryAt}
	if r := ts.rejected[id]; ts.rejectsCurrent(t, id) {
		stale.RejectedItself, stale.Since, stale.Message = true, r.since, r.message
		return stale
	}
	if v := t.rejectionsFor(id, ts.envoy); v != nil {
		stale.Since, stale.Message = v.first()
	}
	return stale
}
