package labels

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"relay/internal/hostname"
	"relay/sources"
)

// TLS of TCP services that ends at Envoy.
var serviceTLSLabels = []Label{
	{Key: "RELAY_{n}_TLS_TERMINATE", Field: "tlsTerminate", tcpOnly: true, setting: func(s *Settings, v string) { s.serviceTLS.terminate = s.flag(v, true) },
		tooLong:   func(s *Settings) string { s.serviceTLS.terminate = true; return "it is taken as true" },
		meaning:   "clients connect by TLS, and Envoy shows them the certificates for the port's `VHOST`. The instances get what is in it ([connections.md](connections.md))",
		byDefault: "`false`", envoy: "`DownstreamTlsContext`", example: "true"},
	{Key: "RELAY_{n}_CLIENT_CA", Field: "clientCA", restricts: true, setting: (*Settings).clientCA,
		meaning: "clients must show a certificate that this authority of the certificate store has signed, and has not revoked. " +
			"Needs `TLS_TERMINATE`",
		byDefault: "clients are asked for none", envoy: "`validation_context`", example: "devices"},
	{Key: "RELAY_{n}_CLIENT_SAN", Field: "clientSAN", restricts: true, setting: (*Settings).clientNames,
		meaning: "names, of which the certificate of a client must have one, with spaces or commas between: `uri:`, `dns:` or `email:`, and the name; " +
			"`*` at the end stands for any text. Needs `CLIENT_CA`",
		byDefault: "any name", envoy: "`match_typed_subject_alt_names`", example: "uri:spiffe://lab.test/tenant/acme/*"},
	{Key: "RELAY_{n}_CLIENT_CERTIFICATES", Field: "clientCertificates", tcpOnly: true, setting: (*Settings).clientCertificates,
		tooLong:   func(*Settings) string { return "it is taken as required" },
		meaning:   "`required`, or `optional`: clients without a certificate are let in too. Not with `CLIENT_SAN`",
		byDefault: "`required` with `CLIENT_CA`", envoy: "`require_client_certificate`", example: "optional"},
	{Key: "RELAY_{n}_TLS_PROFILE", Field: "tlsProfile", tcpOnly: true, setting: (*Settings).tlsProfile,
		meaning: "`modern`: TLS 1.3; `intermediate`: TLS 1.2 too, with ECDHE and AES-GCM or ChaCha20; " +
			"`old`: those with ECDHE and AES-CBC too, for small devices",
		byDefault: "`intermediate`", envoy: "`tls_params`", example: "old"},
}

const (
	// MaxClientNames is the number of names in CLIENT_SAN.
	MaxClientNames = 100
	// maxClientName is how long each may be, in bytes, and maxClientDNS a whole name of DNS: Envoy
	// matches it by a regular expression, and takes no long ones.
	maxClientName, maxClientDNS = 1024, 80
)

// serviceTLSSettings are what is said of the TLS of a TCP service.
type serviceTLSSettings struct {
	terminate bool
	sources.ServiceTLS
}

// ValidAuthority is what the names of authorities look like.
var ValidAuthority = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

func (s *Settings) clientCA(value string) {
	name := strings.TrimSpace(value)
	if !ValidAuthority.MatchString(name) {
		s.refuseClients("%.40q is no name of an authority: write letters, digits, points, hyphens and underscores", value)
		return
	}
	s.serviceTLS.ClientCA = name
}

// refuseClients lets nobody in: a restriction was asked for that is not understood.
func (s *Settings) refuseClients(format string, args ...any) {
	s.serviceTLS.Refused = true
	s.failing(format+": "+nobodyIn, args...)
}

const nobodyIn = "nobody is let in, because everyone would be otherwise"

func (s *Settings) clientNames(value string) {
	fields := strings.FieldsFunc(value, isBetweenDomains)
	switch {
	case len(fields) == 0:
		s.refuseClients("names nobody")
		return
	case len(fields) > MaxClientNames:
		s.refuseClients("has more than %d names", MaxClientNames)
		return
	}
	var names []sources.ClientName
	for _, field := range fields {
		name, err := parseClientName(field)
		if err != nil {
			s.refuseClients("%.80q %v", field, err)
			return
		}
		names = append(names, name)
	}
	s.serviceTLS.ClientNames = names
}

// parseClientName reads one name, such as uri:spiffe://lab.test/tenant/acme/* or dns:dev1.test.
func parseClientName(field string) (sources.ClientName, error) {
	name := sources.ClientName{Type: sources.NameDNS, Value: field}
	if kind, rest, typed := strings.Cut(field, ":"); typed {
		switch t := sources.NameType(strings.ToLower(kind)); {
		case t == sources.NameURI || t == sources.NameDNS || t == sources.NameEmail:
			name.Type, name.Value = t, rest
		case strings.HasPrefix(rest, "//"):
			name.Type = sources.NameURI
		default:
			return name, errors.New("is of no known type: begin with uri:, dns: or email:, as uri:spiffe://lab.test/7")
		}
	}
	name.Value, name.Prefix = strings.CutSuffix(name.Value, "*")
	switch {
	case name.Value == "":
		return name, fmt.Errorf("names nothing")
	case name.Type == sources.NameDNS && !name.Prefix && len(name.Value) > maxClientDNS:
		return name, fmt.Errorf("is a name of DNS of more than %d bytes, which Envoy cannot match: write how it begins, with * at the end", maxClientDNS)
	case len(name.Value) > maxClientName:
		return name, fmt.Errorf("is longer than %d bytes", maxClientName)
	case strings.Contains(name.Value, "*"):
		return name, fmt.Errorf("has a * that is not at the end")
	case strings.ContainsFunc(name.Value, func(c rune) bool { return c <= ' ' || c > '~' }):
		return name, fmt.Errorf("has other characters than those of ASCII")
	}
	if name.Type != sources.NameDNS {
		return name, nil
	}
	name.Value = strings.ToLower(name.Value)
	if !name.Prefix {
		if host, err := hostname.ServerName(name.Value); err != nil || host != name.Value {
			return name, fmt.Errorf("is no name of DNS: write uri: before a name of another kind")
		}
	}
	return name, nil
}

func (s *Settings) clientCertificates(value string) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "required":
	case "optional":
		s.serviceTLS.OptionalCertificate = true
	default:
		s.problem("%.40q is taken as required: write required or optional", value)
	}
}

func (s *Settings) tlsProfile(value string) {
	switch p := sources.TLSProfile(strings.ToLower(strings.TrimSpace(value))); p {
	case sources.TLSModern, sources.TLSOld:
		s.serviceTLS.Profile = p
	case "", sources.TLSIntermediate:
	default:
		s.problem("%.40q is taken as intermediate: write modern, intermediate or old", value)
	}
}

// settleServiceTLS settles what of the labels for TLS belongs together; nil if Envoy does not end
// the TLS of the port. tcp tells that it is served by TCP.
func (s *Settings) settleServiceTLS(tcp bool) *sources.ServiceTLS {
	t := &s.serviceTLS
	restriction := ""
	for _, name := range []string{"CLIENT_CERTIFICATES", "CLIENT_SAN", "CLIENT_CA"} {
		// An optional certificate keeps nobody out.
		if s.given[name] && !(name == "CLIENT_CERTIFICATES" && t.OptionalCertificate) {
			restriction = name
		}
	}
	switch {
	case !tcp || !t.terminate:
		if restriction != "" {
			s.http.Closed = true
			s.problems.AddFailing(restriction, "asks clients for certificates, which only ports in TCP mode with RELAY_n_TLS_TERMINATE (in a YAML file: tlsTerminate) can: "+nobodyIn)
		} else if s.given["CLIENT_CERTIFICATES"] {
			s.problemOn("CLIENT_CERTIFICATES", "has no effect without CLIENT_CA")
		}
		for _, name := range []string{"TLS_PROFILE", "TLS_ALPN"} {
			if s.given[name] && tcp {
				s.problemOn(name, "has no effect without TLS_TERMINATE")
			}
		}
		return nil
	case t.ClientCA == "" && !t.Refused && restriction != "":
		t.Refused = true
		s.problems.AddFailing(restriction, "says nothing without CLIENT_CA, the authority that signs certificates of clients: "+nobodyIn)
	case t.ClientCA == "" && t.OptionalCertificate:
		s.problemOn("CLIENT_CERTIFICATES", "has no effect without CLIENT_CA")
	case t.OptionalCertificate && len(t.ClientNames) > 0:
		s.problemOn("CLIENT_CERTIFICATES", "is taken as required, as CLIENT_SAN says which certificates are let in")
	}
	t.OptionalCertificate = t.OptionalCertificate && t.ClientCA != "" && len(t.ClientNames) == 0
	settled := t.ServiceTLS
	return &settled
}
