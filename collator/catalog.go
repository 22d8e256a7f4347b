package collator

import (
	"slices"
	"strings"

	"relay/collator/routing"
)

// AppEntry is an app in a list, with what people search by. It is never modified.
type AppEntry struct {
	ID string
	// Fleets are those that route a port of it, Domains those that its ports name.
	Fleets, Domains []string
	// text is the id in lower case; domains are in lower case already.
	text string
}

// Has reports whether the id or a domain has a text in it, which is in lower case.
func (e *AppEntry) Has(text string) bool {
	return strings.Contains(e.text, text) || slices.ContainsFunc(e.Domains, func(d string) bool { return strings.Contains(d, text) })
}

// DomainEntry is a domain that apps name. It is never modified.
type DomainEntry struct {
	Name string
	// Apps are the ids of those that name it, Fleets those that route it for one of them.
	Apps, Fleets []string
	// Clusters are those of the app ports.
	Clusters []string
}

// AppEntries returns all apps, ordered by id. Nobody may modify the list.
func (c *Collator) AppEntries() []*AppEntry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	entries := make([]*AppEntry, 0, len(c.read))
	for id := range c.read {
		entries = append(entries, c.entryOf(id))
	}
	slices.SortFunc(entries, func(a, b *AppEntry) int { return strings.Compare(a.ID, b.ID) })
	return entries
}

// entryOf returns the entry of an app. The caller is the loop or holds the lock.
func (c *Collator) entryOf(id string) *AppEntry {
	app := c.shown(id).app
	e := &AppEntry{ID: id, text: strings.ToLower(id)}
	for _, port := range app.Ports {
		e.Domains = append(e.Domains, port.Domains...)
		for _, group := range port.Groups {
			if c.isFleet(group) && !slices.Contains(e.Fleets, group) {
				e.Fleets = append(e.Fleets, group)
			}
		}
	}
	return e
}

// DomainEntries returns all domains, ordered by name. Nobody may modify the list.
func (c *Collator) DomainEntries() []*DomainEntry {
	byName := make(map[string]*DomainEntry)
	var entries []*DomainEntry
	c.mu.RLock()
	defer c.mu.RUnlock()
	for id := range c.read {
		shown := c.shown(id)
		for i, port := range shown.app.Ports {
			for _, domain := range port.Domains {
				e := byName[domain]
				if e == nil {
					e = &DomainEntry{Name: domain}
					byName[domain] = e
					entries = append(entries, e)
				}
				e.Apps = append(e.Apps, id)
				if shown.merged != nil {
					e.Clusters = append(e.Clusters, routing.ClusterName(shown.merged.ID, i))
				} else {
					e.Clusters = append(e.Clusters, routing.ClusterName(id, i))
				}
				for _, group := range port.Groups {
					if c.isFleet(group) && !slices.Contains(e.Fleets, group) {
						e.Fleets = append(e.Fleets, group)
					}
				}
			}
		}
	}
	for _, e := range entries {
		slices.Sort(e.Apps)
		e.Apps = slices.Compact(e.Apps)
		slices.Sort(e.Clusters)
		e.Clusters = slices.Compact(e.Clusters)
		slices.Sort(e.Fleets)
	}
	slices.SortFunc(entries, func(a, b *DomainEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// DomainState says whether a domain is served.
type DomainState uint8

// The states; of several, the first is that of a domain.
const (
	StateServed DomainState = iota
	StateWithoutTask
	StateStopped
	StateWithoutCertificate
	StateInNoFleet
)

// DomainState says whether a domain is served.
func (c *Collator) DomainState(e *DomainEntry) DomainState {
	if len(e.Fleets) == 0 {
		return StateInNoFleet
	}
	return StateServed
}

// DomainCertificate returns the certificate that https clients of a domain get; empty for none.
func (c *Collator) DomainCertificate(e *DomainEntry) string {
	v := c.coverage
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, fleet := range e.Fleets {
		if f := v.fleets[fleet]; f != nil && f.picked[e.Name].Secret != "" {
			return f.picked[e.Name].Secret
		}
	}
	return ""
}
