package labels

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"relay/internal/secret"
	"relay/sources"
)

// Who is let in.
var accessLabels = []Label{
	{Key: "HAPROXY_{n}_AUTH", Field: "auth", restricts: true, setting: (*Settings).auth, shown: hidden,
		meaning: "`realm:user:hash`. The hash must be that of `htpasswd -s`, which begins with `{SHA}`: Envoy knows no other. " +
			"Hashes of crypt(3) (`$5$`, `$6$`) close the port",
		byDefault: "no password", envoy: "`basic_auth` of the route", example: "Shop:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
	{Key: "HAPROXY_{n}_BACKEND_NETWORK_ALLOWED_ACL", Field: "allowedNetworks", restricts: true, setting: (*Settings).networks,
		meaning: "addresses and networks, with spaces between; all other clients get 403. The client is whoever connects to Envoy: " +
			"`X-Forwarded-For` counts for nothing, unless a [trusted proxy](edge.md#behind-another-balancer) says it",
		byDefault: "everyone", envoy: "`rbac` of the route, `remote_ip`", example: "10.0.0.0/8 192.0.2.7"},
}

var (
	// In the form that Envoy takes: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/basic_auth_filter
	validHash  = regexp.MustCompile(`^\{SHA\}[A-Za-z0-9+/]{27}=$`)
	validUser  = regexp.MustCompile(`^[!"$-9;-~][!-9;-~]{0,254}$`)
	validRealm = regexp.MustCompile(`^[ !#-\[\]-~]{0,100}$`)
)

// auth never says what it read: it is a secret.
func (s *Settings) auth(value string) {
	parts := strings.Split(strings.TrimSpace(value), ":")
	switch {
	case len(parts) != 3:
		s.close("is not realm:user:hash")
	case !validUser.MatchString(parts[1]):
		s.close("has a user name that Envoy cannot check: use letters, digits and hyphens")
	case !validHash.MatchString(parts[2]):
		s.close("has a password hash of a kind that Envoy cannot check: make it with htpasswd -s, it begins with {SHA}")
	default:
		s.http.BasicAuth = &sources.BasicAuth{Realm: "Restricted", User: parts[1], Hash: secret.String(parts[2])}
		if !validRealm.MatchString(parts[0]) {
			s.problem("has a realm with other characters than letters, digits and spaces: Restricted is used")
		} else if parts[0] != "" {
			s.http.BasicAuth.Realm = parts[0]
		}
	}
}

func (s *Settings) networks(value string) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		s.close("names no network")
		return
	}
	if len(fields) > MaxNetworks {
		s.refuse(MaxNetworks, "networks")
		return
	}
	var networks []netip.Prefix
	for _, field := range fields {
		network, ok := ParseNetwork(field)
		if !ok {
			if strings.ContainsAny(field, ",;") {
				s.close("%.40q is more than one network: write spaces between them, such as 10.0.0.0/8 192.0.2.7", field)
				return
			}
			s.close("%.40q is not an IP address or network, such as 10.0.0.0/8", field)
			return
		}
		networks = append(networks, network)
	}
	slices.SortFunc(networks, netip.Prefix.Compare)
	s.http.AllowedNetworks = slices.Compact(networks)
}

// ParseNetwork reads an address or a network.
func ParseNetwork(s string) (netip.Prefix, bool) {
	if address, err := netip.ParseAddr(s); err == nil {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), address.Zone() == ""
	}
	network, err := netip.ParsePrefix(s)
	return network.Masked(), err == nil && !network.Addr().Is4In6()
}
