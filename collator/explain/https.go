package explain

import (
	"slices"
	"strings"
	"time"

	"relay/certs"
	"relay/collator"
	"relay/collator/routing"
	"relay/internal/hostname"
)

// HTTPS is how a fleet answers a host by HTTPS.
type HTTPS struct {
	// Listens is where; empty when the fleet has no https listener.
	Listens string `json:"listens,omitempty"`
	// Certificate is the one that clients are shown; nil for none.
	Certificate *Certificate `json:"certificate,omitempty"`
	// Second is the one for clients that do not take the kind of key of Certificate; nil
	// for none.
	Second *Certificate `json:"second,omitempty"`
	// Others cover the host too, and are not used.
	Others []Certificate `json:"others,omitempty"`
	// Notes say what clients will object to.
	Notes []string `json:"notes,omitempty"`
}

// Certificate is a certificate that could answer for a host.
type Certificate struct {
	Source string `json:"source"`
	Name   string `json:"name"`
	Secret string `json:"secret"`
	// ServerName is the name by which it covers the host; empty for the default
	// certificate.
	ServerName string    `json:"serverName,omitempty"`
	NotAfter   time.Time `json:"notAfter"`
	// EndsWith is the issuer whose end NotAfter is; empty if it is the certificate's own.
	EndsWith string `json:"endsWithIssuer,omitempty"`
	// Kind is the kind of its key.
	Kind certs.Kind `json:"key,omitempty"`
	// State is "valid", "expired" or "not valid yet".
	State  string `json:"state"`
	Reason string `json:"reason"`
	// Remarks are those of collator.CertificateView.
	Remarks []string `json:"remarks,omitempty"`
	// incomplete is that of collator.CertificateView.
	incomplete bool
}

// explainHTTPS says which certificate Envoy picks for a server name: that of the exact name,
// then that of the longest wildcard, at any depth, then the default one
// (https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch).
// passes reports whether the TLS of a name is passed through.
func explainHTTPS(f *routing.Fleet, host string, all []collator.CertificateView, now time.Time, known bool, passes func(name string) bool) HTTPS {
	switch {
	case f.HasHTTPS():
	case f.OffersHTTPS():
		return HTTPS{Notes: []string{"the fleet has no https listener: a balancer in front of it takes https"}}
	default:
		return HTTPS{Notes: []string{"the fleet has no https listener"}}
	}
	view := HTTPS{Listens: f.HTTPS.String()}
	if !known {
		view.Notes = []string{"certificates have not been read yet"}
		return view
	}
	answers := func(name string) bool { return f.HasServerName(name) && !passes(name) }
	for _, name := range hostname.Candidates(host) {
		for _, c := range all {
			if !slices.Contains(c.ServerNames, name) {
				continue
			}
			choice := choiceOf(c, name, now)
			switch {
			case !f.HasServerName(name):
				choice.Reason = "the fleet's server-names do not have " + name
				view.Others = append(view.Others, choice)
			case (view.Certificate == nil || view.Certificate.ServerName == name) &&
				(slices.Contains(c.Serves, name) || slices.Contains(c.LeftToWildcard, name) && !answers(hostname.WildcardOver(name))):
				choice.Reason = "it covers " + name
				view.use(choice)
			default:
				view.Others = append(view.Others, choice)
			}
		}
	}
	if view.Certificate == nil {
		view.useDefault(all, now)
	}
	for i := range view.Others {
		if view.Others[i].Reason != "" {
			continue
		}
		used := view.Certificate
		if second := view.Second; second != nil && second.Kind == view.Others[i].Kind {
			used = second
		}
		view.Others[i].Reason = otherReason(host, view.Others[i], used)
	}
	view.Notes = append(view.Notes, certificateNotes(host, view.Certificate)...)
	if f.TLS.RequiresCertificates() {
		view.Notes = append(view.Notes, "clients have to show a certificate of an authority in client-ca")
	}
	return view
}

// use adds a certificate that is served. Envoy prefers that with an ECDSA key.
func (h *HTTPS) use(c Certificate) {
	switch {
	case h.Certificate == nil:
		h.Certificate = &c
	case c.Kind == certs.ECDSA:
		h.Certificate, h.Second = &c, h.Certificate
	default:
		h.Second = &c
	}
	if h.Second != nil {
		h.Second.Reason = "it covers the name too, for clients that do not take " + string(h.Certificate.Kind) + " keys"
	}
}

func (h *HTTPS) useDefault(all []collator.CertificateView, now time.Time) {
	for _, c := range all {
		if c.Default {
			choice := choiceOf(c, "", now)
			choice.Reason = "no certificate covers the name: this is the default one"
			h.use(choice)
		}
	}
	if h.Certificate != nil {
		h.Notes = append(h.Notes, "the certificate does not cover the name: clients will refuse it")
	}
}

func choiceOf(c collator.CertificateView, name string, now time.Time) Certificate {
	choice := Certificate{
		Source: c.Source, Name: c.Name, Secret: c.Secret, ServerName: name, NotAfter: c.NotAfter,
		EndsWith: c.EndsWith, Kind: c.Kind, Remarks: c.Remarks, incomplete: c.Incomplete,
	}
	switch (&certs.Certificate{NotBefore: c.NotBefore, NotAfter: c.NotAfter}).ValidAt(now) {
	case certs.Valid:
		choice.State = "valid"
	case certs.Expired:
		choice.State = "expired"
	case certs.NotYetValid:
		choice.State = "not valid yet"
	}
	return choice
}

func otherReason(host string, other Certificate, used *Certificate) string {
	switch {
	case used == nil:
		return "it is not used"
	case other.ServerName == host && other.State != "valid" && used.State == "valid":
		return "it is " + other.State
	case other.ServerName != used.ServerName:
		return "a more exact name counts first"
	case other.State != "valid" && used.State == "valid":
		return "it is " + other.State
	case other.incomplete && !used.incomplete:
		return "nothing is missing in the chain of the other"
	case other.NotAfter.Before(used.NotAfter):
		return "the other is valid for longer"
	}
	return "of two alike, Vault's counts first, then the lowest fingerprint"
}

func certificateNotes(host string, used *Certificate) []string {
	if used == nil {
		return []string{"no certificate covers the name, and there is no default one: connections are closed"}
	}
	var notes []string
	if used.State != "valid" {
		note := "the certificate is " + used.State + ": clients will refuse it"
		if used.EndsWith != "" && used.State == "expired" {
			note = "the certificate is expired with its issuer " + used.EndsWith + ": clients will refuse it"
		}
		notes = append(notes, note)
	}
	if parent, ok := hostname.CutWildcard(used.ServerName); ok && host != used.ServerName {
		if below := strings.TrimSuffix(strings.TrimPrefix(host, "*."), "."+parent); strings.Contains(below, ".") || strings.HasPrefix(host, "*.") {
			notes = append(notes, used.ServerName+" covers one level of names only: clients will refuse it")
		}
	}
	return notes
}
