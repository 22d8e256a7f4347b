package xds

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// noticeOutdated looks whether an Envoy has something newer than the store, while the store
// may be outdated. It has if it comes with a resource, or a version of one, that the store never
// had: another Relay gave it that, and to serve the Envoy would take it away.
func (s *session) noticeOutdated(t Type, change subscriptionChange) {
	if s.store.Outdated == nil || t.info().madeOfApps == no || s.newerResource != "" {
		return
	}
	since := s.store.Outdated()
	if since.IsZero() {
		return
	}
	table := &s.store.tables[t]
	for _, h := range change.initial {
		if e := &table.entries[h.id]; !e.existed || e.presence == present && !table.knowsVersion(h, s.envoy) {
			s.newerResource, s.outdatedSince = t.String()+" "+e.name, since
			return
		}
	}
}

// knowsVersion reports whether the store has, or had before, the version with which an Envoy
// comes. A version of another control plane counts as known: it says nothing.
func (t *table) knowsVersion(h initialResource, envoy *envoyNode) bool {
	return h.version == 0 || h.version == t.version(h.id, envoy) || h.version == t.entries[h.id].lastGoodVersion
}

// outdatedError returns why the Envoy is better served by another Relay, or by none: then it
// goes on with what it has. It is nil if this Relay may serve it.
func (s *session) outdatedError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newerResource == "" {
		return nil
	}
	return status.Errorf(codes.Unavailable,
		"this Relay has not followed the apps since %s, and the Envoy has something newer: %s. It keeps what it has until this Relay, or another one, follows them again",
		s.outdatedSince.UTC().Format(time.RFC3339), fmt.Sprintf("%.200q", s.newerResource))
}
