package collator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/credentials"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// appCredentials are the credentials of all stores, and who looks for which. They belong to the loop.
type appCredentials struct {
	reads map[string]credentialRead // by store
	set   credentials.Set
	// looked has the paths at which what is routed under a name looks, and users those who look at a path.
	looked map[string][]string
	users  map[string]map[string]struct{}
}

// credentialRead is one complete read of a store.
type credentialRead struct {
	all      []*credentials.Credential
	problems []problem.Problem
}

func newAppCredentials() *appCredentials {
	a := &appCredentials{reads: make(map[string]credentialRead), set: make(credentials.Set)}
	a.forgetUsers()
	return a
}

func (a *appCredentials) forgetUsers() {
	a.looked, a.users = make(map[string][]string), make(map[string]map[string]struct{})
}

// take takes in complete reads, and returns the paths whose credentials are not as before. Of two with one path that
// of Vault is used, as it is of certificates.
func (a *appCredentials) take(reads map[string]credentialRead) (changed []string) {
	maps.Copy(a.reads, reads)
	set := make(credentials.Set)
	for _, source := range slices.Sorted(maps.Keys(a.reads)) {
		for _, c := range a.reads[source].all {
			set[c.Path] = c
		}
	}
	for path, c := range set {
		if !c.Equal(a.set[path]) {
			changed = append(changed, path)
		}
	}
	for path := range a.set {
		if set[path] == nil {
			changed = append(changed, path)
		}
	}
	a.set = set
	return changed
}

// look notes at which paths something that is routed looks, and reports whether that has changed.
func (a *appCredentials) look(name string, paths []string) (changed bool) {
	before := a.looked[name]
	if slices.Equal(before, paths) {
		return false
	}
	for _, path := range before {
		if delete(a.users[path], name); len(a.users[path]) == 0 {
			delete(a.users, path)
		}
	}
	for _, path := range paths {
		if a.users[path] == nil {
			a.users[path] = make(map[string]struct{})
		}
		a.users[path][name] = struct{}{}
	}
	if a.looked[name] = paths; len(paths) == 0 {
		delete(a.looked, name)
	}
	return true
}

// SyncCredentials implements credentials.Sink.
func (c *Collator) SyncCredentials(source string, all []*credentials.Credential, problems []problem.Problem) {
	c.inbox.note(func(n *notes) {
		if n.credentials == nil {
			n.credentials = make(map[string]credentialRead)
		}
		n.credentials[source] = credentialRead{all, problems}
	})
}

// credentialsKnown reports whether each store has said which credentials it has.
func (c *Collator) credentialsKnown() bool {
	for _, source := range c.cfg.CredentialSources {
		if _, ok := c.credentials.reads[source]; !ok {
			return false
		}
	}
	return true
}

// mergeCredentials takes in complete reads, and marks what needs a credential that is not as before.
func (c *Collator) mergeCredentials(reads map[string]credentialRead) {
	if len(reads) == 0 {
		return
	}
	known, a := c.credentialsKnown(), c.credentials
	changed := a.take(reads)
	for source, read := range reads {
		c.problems.set(owner{problem.Source, "", inCredentials, source}, read.problems...)
	}
	concerned := make(map[string]struct{})
	for _, path := range changed {
		maps.Copy(concerned, a.users[path])
	}
	if !known && c.credentialsKnown() {
		for name := range a.looked {
			concerned[name] = struct{}{}
		}
	}
	if len(concerned) > 0 {
		c.recorded.cause = "credentials were read again"
	}
	for _, name := range slices.Sorted(maps.Keys(concerned)) {
		c.markCredentialUser(name)
	}
}

// updateCredentialUser notes which credentials something needs that is routed under a name, after it has changed.
func (c *Collator) updateCredentialUser(name string) {
	var paths []string
	if app := c.routed(name); app != nil {
		for i := range app.Ports {
			for _, credential := range app.Ports[i].Credentials() {
				paths = append(paths, credentials.Paths(c.definedBy(name), credential)...)
			}
		}
	}
	slices.Sort(paths)
	if c.credentials.look(name, slices.Compact(paths)) {
		c.markCredentialUser(name)
		return
	}
	if len(paths) > 0 {
		c.reportCredentials(name)
	}
}

// markCredentialUser marks what may have a credential in it, of something that is routed under a name.
func (c *Collator) markCredentialUser(name string) {
	app := c.routed(name)
	for _, f := range c.fleets {
		f.markCredentials(name, app)
	}
	c.reportCredentials(name)
}

func (f *fleetState) markCredentials(name string, app *sources.App) {
	for domain, claims := range f.ClaimsOf(app) {
		if slices.ContainsFunc(claims, func(c routing.Claim) bool { return len(c.HTTP.Credentials()) > 0 }) {
			f.mark(xds.Scope, domain)
		}
	}
	for port := range routing.PortCount(app) {
		f.markOIDC(name, app, port)
		if len(app.Ports[port].Credentials()) > 0 && f.Routes(name, app, port) {
			f.mark(xds.Cluster, routing.ClusterName(name, port))
		}
	}
	services, _ := f.ServicesOf(name, app)
	for _, s := range services {
		if s.Listen != 0 && len(app.Ports[s.Port].TCP.Credentials()) > 0 {
			f.mark(xds.Listener, routing.TCPListener(s.Listen))
		}
	}
}

// lacksCredentials reports whether a resource waits for the credentials: until all of them have been read, nobody
// knows what is right.
func (f *fleetState) lacksCredentials(key xds.Key) bool {
	if f.c.credentialsKnown() || len(f.c.credentials.looked) == 0 {
		return false
	}
	switch key.Type {
	case xds.Scope:
		return slices.ContainsFunc(f.claimsOn(key.Name), func(c routing.Claim) bool { return c.Route && len(c.HTTP.Credentials()) > 0 })
	case xds.Secret:
		cluster, _, ok := routing.SecretOfOIDC(key.Name)
		return ok && f.oidcOf(cluster) != nil
	case xds.Cluster:
		id, port := routing.SplitClusterName(key.Name)
		app := f.c.routed(id)
		return app != nil && port >= 0 && port < len(app.Ports) && len(app.Ports[port].TCP.Credentials()) > 0
	case xds.Listener:
		s, ok := f.services.Opened(key.Name)
		app := f.c.routed(s.App)
		return ok && app != nil && s.Port < len(app.Ports) && len(app.Ports[s.Port].TCP.Credentials()) > 0
	}
	return false
}

// credential returns the credential that something means which is routed under a name: the nearest one above the app
// whose labels count. If there is none, reason says so, and where it was looked for.
func (f *fleetState) credential(routed, name string) (found *credentials.Credential, reason string) {
	return f.c.credential(routed, name)
}

func (c *Collator) credential(routed, name string) (found *credentials.Credential, reason string) {
	app := c.definedBy(routed)
	if found = c.credentials.set.Find(app, name); found != nil {
		return found, ""
	}
	paths := credentials.Paths(app, name)
	switch {
	case len(c.cfg.CredentialSources) == 0:
		return nil, "Relay has no store of credentials"
	case !c.credentialsKnown():
		return nil, "the credentials have not been read yet"
	case len(paths) == 0:
		return nil, "it is no name of a credential, or the app has an id that is no folder"
	}
	reason = "there is none at " + strings.Join(paths, ", ")
	for _, source := range slices.Sorted(maps.Keys(c.credentials.reads)) {
		for _, p := range c.credentials.reads[source].problems {
			if slices.Contains(paths, p.Subject) {
				reason += fmt.Sprintf("; %s %s: %s", source, p.Subject, p.Reason)
			}
		}
	}
	return nil, reason
}

// addCredentials gives the rules of a domain the credentials that they name.
func (f *fleetState) addCredentials(routes *routing.DomainRoutes) {
	for i := range routes.Rules {
		r := &routes.Rules[i]
		for _, name := range r.HTTP.Credentials() {
			if r.Credentials == nil {
				r.Credentials = make(map[string]*credentials.Credential)
			}
			if found, _ := f.credential(r.Claim.App, name); found != nil {
				r.Credentials[name] = found
			}
		}
	}
}

// reportCredentials says which credentials are missing that something names which is routed.
func (c *Collator) reportCredentials(name string) {
	var problems []problem.Problem
	app := c.routed(name)
	for port := range routing.PortCount(app) {
		if !slices.ContainsFunc(c.fleets, func(f *fleetState) bool { return f.Routes(name, app, port) }) {
			continue
		}
		for _, credential := range app.Ports[port].Credentials() {
			if _, reason := c.credential(name, credential); reason != "" {
				problems = append(problems, problem.Problem{
					App: c.definedBy(name), Subject: fmt.Sprintf("credential %.80s", credential), Severity: problem.Failing,
					Reason: fmt.Sprintf("%s: nobody is let in on port %d", reason, port), Action: c.giveCredential(),
				})
			}
		}
	}
	c.problems.set(owner{problem.App, "", inCredentials, name}, problems...)
	for _, f := range c.fleets {
		f.reportLogIns(name, app)
	}
}

// giveCredential says how something gets the credential that it names.
func (c *Collator) giveCredential() string {
	if len(c.cfg.CredentialSources) == 0 {
		return "give Relay a store (--credentials-dir or --vault-credentials), and put the credential into it (docs/credentials.md)"
	}
	return "put the credential into a store, at one of these paths (docs/credentials.md)"
}
