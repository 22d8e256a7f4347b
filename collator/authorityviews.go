package collator

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/certs"
	"relay/sources"
)

// AuthorityView is an authority of clients as people read about it.
type AuthorityView struct {
	Source, Name string
	// Subjects are the names of the authorities under this name, as their certificates have them.
	Subjects            []string
	NotBefore, NotAfter time.Time
	DaysLeft            int
	// RevokedCount is how many certificates its lists name. The lists were made at RevokedAt, and are
	// out of date at RevokedUntil; both are zero without a list, RevokedUntil without an end.
	RevokedCount            int
	RevokedAt, RevokedUntil time.Time
	// UsedInstead is the store whose authority of the same name is used; empty if this one is.
	UsedInstead string
	// Services are the apps that let clients in by it.
	Services []string
	// Remarks say what is broken in the store, missing, near its end or past it.
	Remarks []string
}

// authorityReads has the authorities of each store, for people.
type authorityReads struct {
	mu       sync.Mutex
	bySource map[string]authorityRead
}

func (r *authorityReads) set(source string, read authorityRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bySource == nil {
		r.bySource = make(map[string]authorityRead)
	}
	r.bySource[source] = read
}

// wrong says what is wrong with the entry of an authority in its store.
func (r *authorityReads) wrong(a *certs.Authority) (reasons []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.bySource[a.Source].problems {
		// A directory has the authority in NAME.ca.pem, Vault in authorities/NAME.
		if strings.TrimSuffix(path.Base(p.Subject), ".ca.pem") == a.Name && p.Reason != a.Remark {
			reasons = append(reasons, p.Reason)
		}
	}
	return reasons
}

// has reports whether a store has an authority of that name.
func (r *authorityReads) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, read := range r.bySource {
		if slices.ContainsFunc(read.authorities, func(a *certs.Authority) bool { return a.Name == name }) {
			return true
		}
	}
	return false
}

// knows reports whether each of the stores has been read.
func (r *authorityReads) knows(stores []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(stores, func(source string) bool { _, read := r.bySource[source]; return !read })
}

// LacksAuthority reports whether a TCP service lets nobody in as no certificate store has the authority that it
// names. It does not wait for the loop.
func (c *Collator) LacksAuthority(of *sources.ServiceTLS) bool {
	return of != nil && of.ClientCA != "" && !c.authorityReads.has(of.ClientCA) && c.authorityReads.knows(c.cfg.CertificateSources)
}

// all returns them ordered by name; of one name, the one that is used comes first. Vault wins over
// the directory, as it does for certificates.
func (r *authorityReads) all() (all []*certs.Authority) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, source := range slices.Backward(slices.Sorted(maps.Keys(r.bySource))) {
		all = append(all, r.bySource[source].authorities...)
	}
	slices.SortStableFunc(all, func(a, b *certs.Authority) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// UsedAuthorities returns the authorities by which TCP services let clients in, ordered by name. They are
// not modified.
func (c *Collator) UsedAuthorities() (used []*certs.Authority) {
	all := c.authorityReads.all()
	if len(all) == 0 {
		return nil
	}
	services, last := c.servicesByAuthority(), ""
	for _, a := range all {
		if a.Name != last && len(services[a.Name]) > 0 {
			used = append(used, a)
		}
		last = a.Name
	}
	return used
}

// Authorities returns the authorities of clients, used or not, ordered by name.
func (c *Collator) Authorities() []AuthorityView {
	all := c.authorityReads.all()
	if len(all) == 0 {
		return nil
	}
	services, now := c.servicesByAuthority(), c.now()
	views := make([]AuthorityView, len(all))
	for i, a := range all {
		v := AuthorityView{
			Source: a.Source, Name: a.Name, Subjects: a.Subjects, NotBefore: a.NotBefore, NotAfter: a.NotAfter, DaysLeft: daysUntil(a.NotAfter, now),
			RevokedCount: a.RevokedCount, RevokedAt: a.RevokedAt, RevokedUntil: a.RevokedUntil, Remarks: slices.Concat(c.authorityReads.wrong(a), a.Due(now).Reasons),
		}
		if a.Remark != "" {
			v.Remarks = append(v.Remarks, a.Remark)
		}
		if i > 0 && all[i-1].Name == a.Name {
			v.UsedInstead = all[i-1].Source
		} else {
			v.Services = services[a.Name]
		}
		views[i] = v
	}
	return views
}

// servicesByAuthority returns the ids of the apps with a TCP service that names an authority, in order.
func (c *Collator) servicesByAuthority() map[string][]string {
	c.mu.RLock()
	apps := make([]*sources.App, 0, len(c.apps))
	for _, app := range c.apps {
		apps = append(apps, app)
	}
	c.mu.RUnlock()
	services := make(map[string][]string)
	for _, app := range apps {
		for _, p := range app.Ports {
			if p.TCP == nil || p.TCP.ServiceTLS == nil || p.TCP.ServiceTLS.ClientCA == "" {
				continue
			}
			if name := p.TCP.ServiceTLS.ClientCA; !slices.Contains(services[name], app.ID) {
				services[name] = append(services[name], app.ID)
			}
		}
	}
	for _, ids := range services {
		slices.Sort(ids)
	}
	return services
}
