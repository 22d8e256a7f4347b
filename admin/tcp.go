package admin

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"relay/admin/api"
	"relay/collator"
)

// maxClientNames is how many names of clients are shown of a TCP service.
const maxClientNames = 5

// tcpOf says what Envoys do with the connections of a port that is a TCP service.
func tcpOf(p collator.PortView) *api.TCP {
	tcp := &api.TCP{
		Port: p.TCP.Port, Passthrough: p.TCP.Passthrough, AcceptRate: p.TCP.AcceptRate, AddressRate: p.TCP.AddressRate,
		MaxConnectionAge: p.TCP.MaxConnectionAge.Seconds(), RebalancePercent: p.TCP.Rebalance, Hold: p.TCP.Hold.Seconds(),
	}
	tcp.TLS = serviceTLSOf(p)
	tcp.Text = tcpText(tcp)
	return tcp
}

func serviceTLSOf(p collator.PortView) *api.ServiceTLS {
	t := p.TCP.ServiceTLS
	if t == nil {
		return nil
	}
	made := &api.ServiceTLS{Profile: cmp.Or(string(t.Profile), "intermediate"), Authority: t.ClientCA, Optional: t.OptionalCertificate}
	shown := t.ClientNames[:min(len(t.ClientNames), maxClientNames)]
	for _, n := range shown {
		name := string(n.Type) + ":" + n.Value
		if n.Prefix {
			name += "*"
		}
		made.ClientNames = append(made.ClientNames, name)
	}
	made.MoreClientNames = len(t.ClientNames) - len(shown)
	switch {
	case t.Refused:
		made.Closed = "a restriction was asked for that cannot be kept"
	case p.LacksAuthority:
		made.Closed = "no certificate store has the authority " + t.ClientCA
	}
	return made
}

// tcpText says it in one line.
func tcpText(tcp *api.TCP) string {
	var parts []string
	tls := tcp.TLS
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if tcp.Port != 0 {
		say("port %d", tcp.Port)
	}
	switch {
	case tls != nil:
		say("TLS ends at Envoy (%s)", tls.Profile)
	case tcp.Passthrough:
		say("TLS is passed through by server name")
	}
	if tls != nil {
		parts = append(parts, clientsText(tls))
	}
	if tcp.AcceptRate > 0 {
		say("new connections at %g/s to each instance", tcp.AcceptRate)
	}
	if tcp.AddressRate > 0 {
		say("at %g/s from one address", tcp.AddressRate)
	}
	if tcp.Hold > 0 {
		say("new connections wait up to %s while there is no instance", time.Duration(tcp.Hold*float64(time.Second)))
	}
	if tcp.MaxConnectionAge > 0 {
		say("connections end after %s, or up to a tenth later", time.Duration(tcp.MaxConnectionAge*float64(time.Second)))
	}
	if tcp.RebalancePercent > 0 {
		say("up to %g %% a minute end to even them out", tcp.RebalancePercent)
	}
	if len(parts) == 0 {
		return "no port"
	}
	return strings.Join(parts, "; ")
}

// clientsText says who is let in.
func clientsText(tls *api.ServiceTLS) string {
	names := strings.Join(tls.ClientNames, ", ")
	if tls.MoreClientNames > 0 {
		names += fmt.Sprintf(" and %d more", tls.MoreClientNames)
	}
	switch {
	case tls.Closed != "":
		return "nobody is let in: " + tls.Closed
	case tls.Authority == "":
		return "clients need no certificate"
	case names != "":
		names = ", with a name of " + names
	}
	if tls.Optional {
		return "clients may have a certificate of " + tls.Authority + names
	}
	return "clients need a certificate of " + tls.Authority + names
}
