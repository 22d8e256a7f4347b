package xds

import (
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
	// Culprit is set when the response carried one resource alone, which nobody
	// had rejected before: it is not sent again, until it changes, to Envoys of
	// this version.
	Culprit bool
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
	// Rejected is the last rejection; Quarantined are the resources that are not
	// sent again until they change.
	Rejected    *Rejection
	Quarantined []string
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
			Rejections: w.rejections, Rejected: w.rejected,
		}
		if w.wildcard {
			status.Subscribed = "*"
		}
		for id := range s.store.tables[t].verdicts {
			if s.store.tables[t].on(id, s.envoy) != nil && w.wants(id) {
				status.Quarantined = append(status.Quarantined, s.store.tables[t].entries[id].name)
			}
		}
		slices.Sort(status.Quarantined)
		all = append(all, status)
	}
	return all
}
