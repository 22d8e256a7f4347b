package admin

import (
	"sync"
	"time"

	"relay/admin/api"
)

const (
	// probesAge is how old the sum of probes may be: each is asked less often.
	probesAge = 5 * time.Second
	// maxWorstProbes bounds those that are named in the status.
	maxWorstProbes = 3
)

// sharedProbes is the sum of probes as it was made last. It is made of all results.
type sharedProbes struct {
	mu  sync.Mutex
	at  time.Time
	sum *api.ProbesStatus
}

// current returns a sum that nobody may modify; nil where nothing is asked from outside.
func (s *sharedProbes) current(probing Probing, now time.Time) *api.ProbesStatus {
	if probing == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && now.Sub(s.at) < probesAge {
		return s.sum
	}
	found, ok := probing.Found(ProbeQuery{Failing: true, Limit: maxWorstProbes})
	s.at, s.sum = now, nil
	if !ok {
		return nil
	}
	found = pagedProbes(found)
	s.sum = &api.ProbesStatus{Place: found.Place, Asked: found.OK + found.Failing, Failing: found.Failing, Worst: found.Probes}
	return s.sum
}
