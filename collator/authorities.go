package collator

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"relay/certs"
	"relay/internal/problem"
)

// authorities has the last read of the authorities of each store.
type authorities struct {
	mu    sync.Mutex
	reads map[string]authorityRead
}

type authorityRead struct {
	authorities []*certs.Authority
	problems    []problem.Problem
}

// SyncAuthorities implements certs.AuthoritySink.
func (c *Collator) SyncAuthorities(source string, all []*certs.Authority, problems []problem.Problem) {
	c.authorities.mu.Lock()
	defer c.authorities.mu.Unlock()
	if c.authorities.reads == nil {
		c.authorities.reads = make(map[string]authorityRead)
	}
	c.authorities.reads[source] = authorityRead{all, problems}
	c.problems.set(owner{problem.Certificate, "", ofAuthorities, source}, problems...)
}

// Authorities returns the authorities of clients of all stores, ordered by name. Nobody may modify them.
func (c *Collator) Authorities() []*certs.Authority {
	c.authorities.mu.Lock()
	defer c.authorities.mu.Unlock()
	var all []*certs.Authority
	for _, source := range slices.Sorted(maps.Keys(c.authorities.reads)) {
		all = append(all, c.authorities.reads[source].authorities...)
	}
	slices.SortStableFunc(all, func(a, b *certs.Authority) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
