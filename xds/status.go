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
	Fleet   string `json:"-"`
	NodeID  string `json:"id"`
	Version string `json:"version"`
	Zone    string `json:"-"`
	// Address is the peer's, as Relay sees it.
	Address string    `json:"address"`
	Since   time.Time `json:"connected"`
	// CertificateExpires is when the certificate that the Envoy showed expires;
	// zero if it showed none.
	CertificateExpires time.Time    `json:"certificateExpires,omitzero"`
	Types              []TypeStatus `json:"types,omitempty"`
	// NoClusters tells that it has not asked for clusters for a while, though it has to
	// without being told.
	NoClusters bool `json:"-"`
	// AllClusters tells that it has asked for all clusters, though its fleet has them on demand.
	AllClusters bool `json:"-"`

	envoy *envoyNode
}

// Told reports whether the Envoy's bootstrap tells Relay a value by a name: see the function Told.
func (s *StreamStatus) Told(name, value string) bool {
	return s.envoy != nil && s.envoy.has(Told(name, value))
}

// TypeStatus is the state of one type on the stream of an Envoy.
type TypeStatus struct {
	Type Type `json:"type"`
	// Subscribed is "*" or the number of names.
	Subscribed string `json:"-"`
	// Resources is how many the Envoy has.
	Resources int `json:"-"`
	// Sent and Acked are revisions of the store. They may be older than the store's: nothing
	// is due while Behind is 0.
	Sent    uint64    `json:"sent"`
	Acked   uint64    `json:"acked"`
	SentAt  time.Time `json:"-"`
	AckedAt time.Time `json:"-"`
	// Stale are the resources whose present version the Envoy does not have, since it, or
	// others of its version, rejected that. They are ordered by name, and no more than
	// maxStale.
	Stale []StaleResource `json:"lacks,omitempty"`
	// StaleCount counts them all.
	StaleCount int `json:"lacking,omitempty"`
	// Behind counts the resources that are due to be sent or removed.
	Behind int `json:"behind"`
	// InFlight is set while a response waits for its answer.
	InFlight   bool `json:"inFlight"`
	Rejections int  `json:"-"`
	// Rejected is the last rejection.
	Rejected *Rejection `json:"-"`
}

// maxStale bounds what is listed of one type.
const maxStale = 20

// StaleResource is a resource whose present version an Envoy does not have.
type StaleResource struct {
	Name string `json:"name"`
	// By is who rejected the version.
	By    Rejecter  `json:"by"`
	Since time.Time `json:"since"`
	// Message is what the Envoy, or the first of the others, said.
	Message string `json:"error"`
	// Retry is when the version is offered again; zero if it is not until it changes.
	Retry time.Time `json:"retry,omitzero"`
	// HasOlder tells that the Envoy has an older version.
	HasOlder bool `json:"older"`
}

// Rejecter says, in words for people, which Envoys rejected what one does not have.
type Rejecter string

// The Envoy itself, or several others of its version of which none acknowledged it.
const (
	ThisEnvoy          Rejecter = "this Envoy"
	OthersOfItsVersion Rejecter = "others of its version"
)

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

// allClusters reports whether an Envoy that should ask for clusters by name has asked for all.
func (s *session) allClusters() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := &s.types[Cluster]
	return s.store.ClustersOnDemand && (ts.subscribed && ts.wildcard || ts.kept != nil && ts.kept.subscribeAll)
}

// staleResource says why a resource is stale.
func (ts *typeState) staleResource(t *table, id uint32) StaleResource {
	stale := StaleResource{Name: t.entries[id].name, By: OthersOfItsVersion, HasOlder: ts.inEnvoy.Contains(id), Retry: ts.stale[id].retryAt}
	if r := ts.rejected[id]; ts.rejectsCurrent(t, id) {
		stale.By, stale.Since, stale.Message = ThisEnvoy, r.since, r.message
		return stale
	}
	if v := t.rejectionsFor(id, ts.envoy); v != nil {
		stale.Since, stale.Message = v.first()
	}
	return stale
}
