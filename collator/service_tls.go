package collator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/xds"
)

// clientAuthorities are those of clients, from all certificate stores.
type clientAuthorities struct {
	reads map[string]authorityRead // by source
	// byName has those that are used.
	byName map[string]*certs.Authority
}

func newClientAuthorities() *clientAuthorities {
	return &clientAuthorities{make(map[string]authorityRead), make(map[string]*certs.Authority)}
}

// set takes in complete reads, and returns the names of the authorities that are not as before. Of two
// with one name that of Vault is used, as it is of certificates.
func (a *clientAuthorities) set(reads map[string]authorityRead) (changed map[string]bool, problems []problem.Problem) {
	maps.Copy(a.reads, reads)
	byName := make(map[string]*certs.Authority)
	for _, source := range slices.Backward(slices.Sorted(maps.Keys(a.reads))) {
		for _, authority := range a.reads[source].authorities {
			if first := byName[authority.Name]; first != nil {
				problems = append(problems, problem.Problem{Subject: "authority " + authority.Name, Reason: fmt.Sprintf("is given twice: that of %s is used", first.Source)})
				continue
			}
			byName[authority.Name] = authority
		}
	}
	changed = make(map[string]bool)
	for name, authority := range byName {
		if before := a.byName[name]; before == nil || !before.Equal(authority) {
			changed[name] = true
		}
	}
	for name := range a.byName {
		if byName[name] == nil {
			changed[name] = true
		}
	}
	a.byName = byName
	return changed, problems
}

// authoritiesKnown reports whether each certificate store has said which authorities it has.
func (c *Collator) authoritiesKnown() bool {
	for _, source := range c.cfg.CertificateSources {
		if _, ok := c.authorities.reads[source]; !ok {
			return false
		}
	}
	return true
}

// SyncAuthorities implements certs.AuthoritySink.
func (c *Collator) SyncAuthorities(source string, authorities []*certs.Authority, problems []problem.Problem) {
	c.authorityReads.set(source, authorityRead{authorities, problems})
	c.inbox.note(func(n *notes) {
		if n.authorities == nil {
			n.authorities = make(map[string]authorityRead)
		}
		n.authorities[source] = authorityRead{authorities, problems}
	})
}

// authorityRead is one complete read of the authorities of a certificate store.
type authorityRead struct {
	authorities []*certs.Authority
	problems    []problem.Problem
}

// mergeAuthorities takes in complete reads, and has the services concerned build their secrets.
func (c *Collator) mergeAuthorities(reads map[string]authorityRead) {
	if len(reads) == 0 {
		return
	}
	known := c.authoritiesKnown()
	changed, problems := c.authorities.set(reads)
	for source, read := range reads {
		// Those that matter only where an authority is missed are told there.
		told := slices.DeleteFunc(slices.Clone(read.problems), func(p problem.Problem) bool { return p.Severity == problem.Advice })
		for i := range told {
			told[i].Action = cmp.Or(told[i].Action, mendAuthority)
		}
		c.problems.set(owner{problem.Certificate, "", inAuthorities, source}, told...)
	}
	c.problems.set(owner{problem.Certificate, "", inAuthorities, ""}, problems...)
	if first := c.authoritiesKnown() && !known; len(changed) == 0 && !first {
		return
	}
	if known {
		c.logAuthorities(changed)
	}
	c.recorded.cause = "authorities of clients were read again"
	for _, f := range c.fleets {
		f.eachTLSService(func(s routing.Service) {
			if !known || changed[s.TLS.ClientCA] {
				f.markServiceClients(s)
			}
		})
	}
}

// logAuthorities tells what a change of authorities means.
func (c *Collator) logAuthorities(changed map[string]bool) {
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		revoked, there := 0, c.authorities.byName[name]
		if there != nil {
			revoked = there.RevokedCount
		}
		c.log.Info("an authority of clients, or its revocation list, changed: that counts from the next handshake of each client, and connections that are open stay",
			"event", "authorities_changed", "name", name, "there", there != nil, "revoked", revoked)
	}
}

// eachTLSService calls a function with each service whose TLS Envoy ends.
func (f *fleetState) eachTLSService(call func(routing.Service)) {
	for port := range f.services.tlsPorts {
		if s, ok := f.tlsService(port); ok {
			call(s)
		}
	}
}

// tlsService returns the service that has a port, if Envoy ends the TLS of it.
func (f *fleetState) tlsService(port uint16) (routing.Service, bool) {
	s, ok := f.services.Opened(routing.TCPListener(port))
	return s, ok && s.TLS != nil
}

// markServiceClients marks what says which certificates of clients a service takes.
func (f *fleetState) markServiceClients(s routing.Service) {
	f.services.tlsChanged[s.Listen] = struct{}{}
	if routing.AsksForCertificates(s.TLS) {
		f.mark(xds.Secret, routing.ClientsSecret(s.Cluster()))
		f.mark(xds.Listener, routing.TCPListener(s.Listen)) // it may have been withheld
	}
}

// markServiceTLS marks what a change of the services on a port concerns: that which had the port, and
// that which has it now.
func (f *fleetState) markServiceTLS(port uint16, had []routing.Service) {
	has := f.services.Ports[port]
	for _, s := range slices.Concat(had[:min(1, len(had))], has[:min(1, len(has))]) {
		for _, secret := range s.ServiceSecrets() {
			f.mark(xds.Secret, secret)
		}
		f.c.doubt(s.ServerNames...)
	}
	delete(f.services.tlsPorts, port)
	if _, ok := f.tlsService(port); ok {
		f.services.tlsPorts[port] = struct{}{}
	}
	f.services.tlsChanged[port] = struct{}{}
}

// setSelection has the services of which other certificates are shown now build their secrets.
func (f *fleetState) setSelection(selection certs.Selection, now time.Time) {
	before := f.selection
	f.selection = &selection
	changed := false
	mark := func(t xds.Type, name string) {
		f.mark(t, name)
		changed = true
	}
	f.eachTLSService(func(s routing.Service) {
		for _, chain := range s.Chains() {
			is, was := f.ShownBy(selection, s, chain.ServerName, now), routing.Shown{}
			if before != nil {
				was = f.ShownBy(*before, s, chain.ServerName, now)
			}
			for i, secret := range chain.Secrets() {
				if before == nil || !sameContent(was.Certificate(i), is.Certificate(i)) {
					mark(xds.Secret, secret)
				}
			}
		}
		if before == nil {
			mark(xds.Listener, routing.TCPListener(s.Listen)) // it was withheld
		}
		f.services.tlsChanged[s.Listen] = struct{}{} // dates may be a problem now
	})
	if changed && f.c.recorded.cause == "" {
		f.c.recorded.cause = "TCP services show other certificates"
	}
}

// buildServiceSecret makes a secret of a service whose TLS Envoy ends; nil if there is none.
func (f *fleetState) buildServiceSecret(name string) proto.Message {
	cluster, chain, ok := routing.SecretOfService(name)
	if !ok {
		return nil
	}
	id, port := routing.SplitClusterName(cluster)
	s, ok := f.openedTLS(id, port)
	switch {
	case !ok:
		return nil
	case chain == nil && routing.AsksForCertificates(s.TLS):
		return envoy.ServiceClients(name, s.TLS, f.c.authorities.byName[s.TLS.ClientCA])
	case chain == nil || f.selection == nil:
		return nil
	case chain.ServerName != "" && !slices.Contains(s.ServerNames, chain.ServerName):
		return nil // the service had the name once
	}
	shown := f.ShownBy(*f.selection, s, chain.ServerName, f.c.now())
	secrets := chain.Secrets()
	if certificate := shown.Certificate(slices.Index(secrets[:], name)); certificate != nil {
		return envoy.ServiceCertificate(name, certificate)
	}
	return nil
}

// openedTLS returns the service of an app port, if it is opened and Envoy ends the TLS of it.
func (f *fleetState) openedTLS(id string, port int) (routing.Service, bool) {
	app := f.c.routed(id)
	if app == nil || port < 0 || port >= len(app.Ports) || app.Ports[port].TCP == nil {
		return routing.Service{}, false
	}
	s, ok := f.tlsService(app.Ports[port].TCP.Port)
	return s, ok && s.App == id && s.Port == port
}

// withheldService reports whether a resource of a service waits for certificates or authorities: until
// all of them have been read, nobody knows what is right.
func (f *fleetState) withheldService(key xds.Key) bool {
	if key.Type == xds.Secret {
		return routing.IsClientsSecret(key.Name) && !f.c.authoritiesKnown()
	}
	port, isTCP := routing.TCPPort(key.Name)
	if key.Type != xds.Listener || !isTCP || len(f.services.tlsPorts) == 0 {
		return false
	}
	s, ok := f.tlsService(port)
	return ok && (f.selection == nil || routing.AsksForCertificates(s.TLS) && !f.c.authoritiesKnown())
}

// reportServiceTLS says what clients of services whose TLS Envoy ends do not get, and notes which
// certificates they are shown.
func (f *fleetState) reportServiceTLS() {
	if len(f.services.tlsChanged) == 0 {
		return
	}
	f.c.coverage.setServices(f.Name, f.shownByServices())
	for port := range f.services.tlsChanged {
		o := owner{problem.TCP, f.Name, inServiceTLS, routing.TCPListener(port)}
		s, ok := f.tlsService(port)
		if !ok {
			f.c.problems.set(o)
			continue
		}
		f.c.problems.set(o, slices.Concat(f.shownProblems(s), f.authorityProblems(s))...)
	}
	f.services.tlsChanged = make(map[uint16]struct{})
}

// shownByServices has the certificates that services show, by the secrets of HTTPS.
func (f *fleetState) shownByServices() map[string]struct{} {
	secrets := make(map[string]struct{})
	if f.selection == nil {
		return secrets
	}
	f.eachTLSService(func(s routing.Service) {
		for _, chain := range s.Chains() {
			shown := f.ShownBy(*f.selection, s, chain.ServerName, f.c.now())
			for i := range 2 {
				if certificate := shown.Certificate(i); certificate != nil {
					secrets[routing.SecretName(certificate)] = struct{}{}
				}
			}
		}
	})
	return secrets
}

const (
	giveCertificate = "put a certificate for the name into the certificate store, or take the name off VHOST"
	nameCertificate = "name a certificate of the store in VHOST (in a YAML file: domains), or put the default certificate into the store"
	mendAuthority   = "put a whole and newer revocation list, or authority, into the store (docs/certificates.md)"
	giveAuthority   = "put the authority into the certificate store (docs/certificates.md), or correct CLIENT_CA"
)

// shownProblems says for which server names of a service clients get no certificate that they accept.
func (f *fleetState) shownProblems(s routing.Service) (problems []problem.Problem) {
	if f.selection == nil {
		return nil
	}
	report := func(name string, shown routing.Shown) {
		otherwise := "clients are refused"
		if shown.First != nil {
			otherwise = "clients are shown " + routing.SecretName(shown.First)
		}
		of, action := name, giveCertificate
		if name == "" {
			of, action = "no server name", nameCertificate
		}
		problems = append(problems, problem.Problem{App: s.App, Domain: name, Subject: "TLS for " + of, Severity: problem.Failing, Action: action,
			Reason: fmt.Sprintf("%s on TCP port %d: %s", shown.Reason, s.Listen, otherwise)})
	}
	now := f.c.now()
	for _, name := range s.ServerNames {
		if shown := f.ShownBy(*f.selection, s, name, now); shown.Reason != "" && len(problems) < maxLosses {
			report(name, shown)
		}
	}
	if shown := f.ShownBy(*f.selection, s, "", now); shown.Reason != "" && len(problems) == 0 {
		report("", shown)
	}
	return problems
}

// authorityProblems says why clients of a service are not let in, whatever certificate they have.
func (f *fleetState) authorityProblems(s routing.Service) []problem.Problem {
	if s.TLS.ClientCA == "" || s.TLS.Refused || !f.c.authoritiesKnown() {
		return nil
	}
	one := problem.Problem{App: s.App, Subject: "authority " + s.TLS.ClientCA, Severity: problem.Failing, Action: giveAuthority}
	authority, now := f.c.authorities.byName[s.TLS.ClientCA], f.c.now()
	var reasons []string
	switch {
	case authority == nil:
		reasons = append(reasons, fmt.Sprintf("no certificate store has it: nobody is let in on TCP port %d, and connections that are open stay", s.Listen))
		reasons = append(reasons, f.c.authorities.unread()...)
	default:
		due := authority.Due(now)
		if reasons = due.Reasons; len(reasons) > 0 {
			one.Action = "put a newer one into the certificate store"
		}
		if !due.Ended {
			one.Severity = problem.Advice
		}
		if authority.Remark != "" {
			reasons = append(reasons, authority.Remark)
			one.Action = "put what is missing into the certificate store"
			if !due.Ended {
				one.Severity = problem.Ignored
			}
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	one.Reason = strings.Join(reasons, "; ")
	return []problem.Problem{one}
}

// unread says which stores cannot tell which authorities they have.
func (a *clientAuthorities) unread() (reasons []string) {
	for _, source := range slices.Sorted(maps.Keys(a.reads)) {
		for _, p := range a.reads[source].problems {
			if p.Severity == problem.Advice {
				reasons = append(reasons, source+": "+p.Reason)
			}
		}
	}
	return reasons
}

// nextAuthorityEnd is when there is something else to say of an authority; zero if never.
func (c *Collator) nextAuthorityEnd() (next time.Time) {
	now := c.now()
	for _, a := range c.authorities.byName {
		next = earlier(next, a.Due(now).Next)
	}
	return next
}

// recheckAuthorities looks again at the dates of authorities when one of them is due.
func (c *Collator) recheckAuthorities() {
	if c.nextAuthority.IsZero() || c.now().Before(c.nextAuthority) {
		return
	}
	for _, f := range c.fleets {
		f.eachTLSService(func(s routing.Service) { f.services.tlsChanged[s.Listen] = struct{}{} })
	}
}
