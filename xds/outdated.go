package xds

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// notice looks whether an Envoy comes with something newer than what is held, while
// that may be outdated: with a resource, or a version of one, that was never held. To
// serve it would take away what another Relay gave it.
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

// hadVersion reports whether a version is that of a resource as it is, or was before.
// One of another control plane says nothing.
func (t *table) knowsVersion(h initialResource, envoy *envoyNode) bool {
	return h.version == 0 || h.version == t.version(h.id, envoy) || h.version == t.entries[h.id].goodVersion
}

// leave returns why the Envoy is better served by another Relay, or by none: it goes on
// with what it has.
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
