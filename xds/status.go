package xds

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Rejection is a response that Envoy refused.
type Rejection struct {
	Type     Type
	Revision uint64
	Time     time.Time
	// Message is Envoy's own.
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

// TypeStatus is what an Envoy was sent and has answered of one type.
type TypeStatus struct {
	Type Type
	// Subscribed is "*" or the number of names.
	Subscribed string
	// Resources is how many it holds.
	Resources int
	// Sent and Acked are revisions of the store; equal to the store's or not,
	// nothing is due while Behind is 0.
	Sent, Acked     uint64
	SentAt, AckedAt time.Time
	InFlight        bool
	// Behind counts the resources that are due to be sent or removed.
	Behind     int
	Rejections int
	// Rejected is the last rejection.
	Rejected *Rejection
	// Lacks are the resources that the Envoy does not have as they are, since it or
	// others of its version rejected them, by name; no more than maxLacks.
	Lacks []Lack
	// Lacking counts them all.
	Lacking int
}

// maxLacks bounds what is listed of one type.
const maxLacks = 20

// Lack is a resource that an Envoy does not have as it is.
type Lack struct {
	Name string
	// Own tells that the Envoy itself rejected it. Else several others of its version
	// did, and none of them acknowledged it.
	Own   bool
	Since time.Time
	// Message is what the Envoy, or one of the others, said.
	Message string
	// Retry is when it is offered again.
	Retry time.Time
	// Older tells that the Envoy has an older version in place of it.
	Older bool
}

// status returns the state of all types the Envoy asked for.
func (s *session) status() []TypeStatus {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []TypeStatus
	for t := range s.watches {
		w := &s.watches[t]
		if !w.subscribed {
			continue
		}
		w.collect(&s.store.tables[t], s.store.revision)
		status := TypeStatus{
			Type: Type(t), Subscribed: strconv.FormatUint(w.names.GetCardinality(), 10), Resources: int(w.held.GetCardinality()),
			Sent: w.sent, Acked: w.acked, SentAt: w.sentAt, AckedAt: w.ackedAt, InFlight: w.flight != nil,
			Behind:     int(w.set.GetCardinality() + w.gone.GetCardinality()),
			Rejections: w.rejections, Rejected: w.lastRejection, Lacking: len(w.lacks),
		}
		if w.wildcard {
			status.Subscribed = "*"
		}
		for _, id := range slices.Sorted(maps.Keys(w.lacks)) {
			if len(status.Lacks) == maxLacks {
				break
			}
			status.Lacks = append(status.Lacks, w.lackOf(&s.store.tables[t], id))
		}
		slices.SortFunc(status.Lacks, func(a, b Lack) int { return cmp.Compare(a.Name, b.Name) })
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
	w := &s.watches[Cluster]
	return !w.subscribed && w.early == nil && !s.began.IsZero() && !s.store.ClustersOnDemand && !s.awaited(Cluster, now)
}

// lackOf says why an Envoy lacks a resource.
func (w *watch) lackOf(t *table, id uint32) Lack {
	l := Lack{Name: t.entries[id].name, Older: w.held.Contains(id), Retry: w.lacks[id].retryAt}
	if r := w.rejected[id]; w.rejects(t, id) {
		l.Own, l.Since, l.Message = true, r.since, r.message
		return l
	}
	if s := t.suspect(id, w.envoy); s != nil {
		l.Since, l.Message = s.first()
	}
	return l
}
