package collator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relay/certs"
	"relay/collator/history"
	"relay/collator/routing"
	"relay/internal/panics"
	"relay/sources"
	"relay/xds"
)

const (
	// maxDetailed is how many apps may change at once so that of each is said what differed.
	maxDetailed = 1000
	// maxDiffed is how many resources may change at once so that they are kept.
	maxDiffed = 200
	// startCause is that of the first change of a fleet.
	startCause = "start"
)

// recorded is what the next changes are for, for the history.
type recorded struct {
	apps map[string]appChange // by id
	// cause is that of what no app and no certificate is the cause of.
	cause string
	// tailed tells that scopes differ in whose requests are reported.
	tailed bool
}

// appChange is an app before and after; nil if there is none.
type appChange struct {
	before, after *sources.App
	cause         string
}

// recordApp notes that an app is not any more what it was before.
func (c *Collator) recordApp(id string, before *sources.App) {
	if c.cfg.History == nil {
		return
	}
	if c.recorded.apps == nil {
		c.recorded.apps = make(map[string]appChange)
	}
	change, noted := c.recorded.apps[id]
	if !noted {
		change.before = before
	}
	change.after, change.cause = c.apps[id], c.work.causes.ofApp(id)
	c.recorded.apps[id] = change
}

// recordCertificates notes which of the certificates that a fleet serves are not what they were.
// They are known unless these are the first.
func (f *fleetState) recordCertificates(before, after map[string]*certs.Certificate, known bool) {
	if f.c.cfg.History == nil {
		return
	}
	add := func(certificate *certs.Certificate, what string) {
		cause := cmp.Or(f.c.work.causes.certificates[certificate.Source], f.c.recorded.cause)
		if !known {
			cause = startCause + ": certificates were read"
		}
		f.certificateParts = append(f.certificateParts, history.Part{Name: certificate.Name, Cause: cause, What: []string{what}})
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		is, was := after[name], before[name]
		switch {
		case was == nil:
			add(is, fmt.Sprintf("certificate %s added, valid until %s", is.Name, day(is.NotAfter)))
		case is.Fingerprint != was.Fingerprint:
			add(is, fmt.Sprintf("certificate %s renewed: valid until %s, before until %s", is.Name, day(is.NotAfter), day(was.NotAfter)))
		case !sameContent(is, was):
			add(is, fmt.Sprintf("certificate %s has another chain", is.Name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] == nil {
			add(before[name], fmt.Sprintf("certificate %s is not served any more", before[name].Name))
		}
	}
}

func day(at time.Time) string { return at.UTC().Format(time.DateOnly) }

// record adds what was published to the history. What changes only whose requests are reported
// is none: nothing is served otherwise, and the log says who follows them. A bug in it costs no
// more than that.
func (f *fleetState) record(change xds.Change, revision uint64, before [][]byte) {
	if f.c.cfg.History == nil {
		return
	}
	err := panics.Catch(func() error {
		p := f.publication(change, revision, before)
		if f.c.recorded.tailed && p.Cause == "" && len(p.Apps)+len(p.Certificates) == 0 || f.onlySheds(&p) {
			return nil
		}
		f.c.cfg.History.Add(p)
		return nil
	})
	panics.Log(f.c.log, err, "fleet", f.Name)
	f.started, f.certificateParts = true, nil
}

// onlySheds reports whether all that is published is that some more connections of endpoints end.
func (f *fleetState) onlySheds(p *history.Publication) bool {
	return f.started && len(p.Certificates) == 0 && len(p.Apps) > 0 && !slices.ContainsFunc(p.Apps, func(part history.Part) bool {
		change := f.c.recorded.apps[part.Name]
		return !history.OnlySheds(change.before, change.after)
	})
}

func (f *fleetState) publication(change xds.Change, revision uint64, before [][]byte) history.Publication {
	p := history.Publication{
		Fleet: f.Name, Revision: revision, Time: time.Now(), Resources: len(change.Set) + len(change.Remove),
		Cause: f.c.recorded.cause, Certificates: f.certificateParts, Apps: f.appParts(),
	}
	if !f.started {
		p.Cause = startCause
		for i := range p.Apps {
			p.Apps[i].Cause = startCause
		}
		for i := range p.Certificates {
			p.Certificates[i].Cause = startCause
		}
	} else if len(p.Apps)+len(p.Certificates) > 0 {
		p.Cause = "" // those of the parts say it
	}
	if before != nil {
		p.Bodies = f.bodies(change, before)
	}
	return p
}

// appParts says what differs in each app that the fleet routes.
func (f *fleetState) appParts() []history.Part {
	var ids []string
	for id, change := range f.c.recorded.apps {
		if f.concerns(id, change) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if len(ids) > maxDetailed {
		what := []string{fmt.Sprintf("one of %d apps that came or changed at once", len(ids))}
		parts := make([]history.Part, len(ids))
		for i, id := range ids {
			change := f.c.recorded.apps[id]
			parts[i] = history.Part{Name: id, Cause: change.cause, What: what, Gone: change.after == nil}
		}
		return parts
	}
	var parts, unexplained []history.Part
	for _, id := range ids {
		change := f.c.recorded.apps[id]
		part := history.Part{Name: id, Cause: change.cause, What: history.What(change.before, change.after), Gone: change.after == nil}
		if len(part.What) > 0 {
			parts = append(parts, part)
		} else {
			part.What = []string{"its definition changed"}
			unexplained = append(unexplained, part)
		}
	}
	if len(parts)+len(f.certificateParts) == 0 {
		return unexplained
	}
	return parts
}

// concerns reports whether the fleet routes the app, or did.
func (f *fleetState) concerns(id string, change appChange) bool {
	for _, app := range []*sources.App{change.before, change.after} {
		for port := range routing.PortCount(app) {
			if f.Routes(id, app, port) {
				return true
			}
		}
	}
	return false
}

// bodiesBefore returns the resources that a change is going to set or remove, as they are; nil if
// they are not to be kept.
func (f *fleetState) bodiesBefore(change xds.Change) [][]byte {
	store, ok := f.publisher.(interface{ Bodies([]xds.Key) [][]byte })
	n := len(change.Set) + len(change.Remove)
	if f.c.cfg.History == nil || !ok || !f.started || n > maxDiffed || len(f.c.recorded.apps) == 0 {
		return nil
	}
	return store.Bodies(changedKeys(change))
}

func changedKeys(change xds.Change) []xds.Key {
	keys := make([]xds.Key, 0, len(change.Set)+len(change.Remove))
	for _, r := range change.Set {
		keys = append(keys, r.Key)
	}
	return append(keys, change.Remove...)
}

// bodies returns what a change changed. Of secrets nothing is kept but the name.
func (f *fleetState) bodies(change xds.Change, before [][]byte) []history.Body {
	all := make([]history.Body, len(before))
	for i, key := range changedKeys(change) {
		all[i] = history.Body{Key: key, Apps: f.appsOf(key)}
		if key.Type == xds.Secret {
			continue
		}
		if all[i].Before = before[i]; i < len(change.Set) {
			all[i].After = change.Set[i].Body()
		}
	}
	return all
}

// appsOf returns the changed apps that a resource is for; none if that is not known, or if all
// are.
func (f *fleetState) appsOf(key xds.Key) (ids []string) {
	if len(f.c.recorded.apps) == 1 {
		return nil
	}
	switch key.Type {
	case xds.Cluster, xds.Endpoint:
		if id, _ := routing.SplitClusterName(key.Name); !strings.HasPrefix(id, deploymentPrefix) {
			return []string{id}
		}
	case xds.Scope:
		for id, change := range f.c.recorded.apps {
			if namesDomain(change.before, key.Name) || namesDomain(change.after, key.Name) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// namesDomain reports whether an app names a domain.
func namesDomain(app *sources.App, domain string) bool {
	for port := range routing.PortCount(app) {
		if p := &app.Ports[port]; slices.Contains(p.Domains, domain) || slices.Contains(p.ACMEDomains, domain) {
			return true
		}
	}
	return false
}
