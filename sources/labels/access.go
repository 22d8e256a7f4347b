package labels

import (
	"net/netip"
	"slices"
	"strings"

	"relay/internal/secret"
	"relay/sources"
)

// Who is let in.
var accessLabels = []Label{
	{Key: "HAPROXY_{n}_AUTH", Field: "auth", restricts: true, setting: (*Settings).auth, shown: hidden,
		meaning: "`realm:user:hash`. The hash is one of crypt(3), as marathon-lb takes it (`$6$`, `$5$`, `$1$`, `$y$`, DES), of `htpasswd` (`$2y$`, `$apr1$`), " +
			"or `{SHA}` of `htpasswd -s`. Envoy checks `{SHA}` alone; all others [Relay checks](passwords.md). A password itself, and hashes that take more than a second to check close the port",
		byDefault: "no password", envoy: "`basic_auth` of the route, or `ext_authz` to Relay", example: "Shop:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
	{Key: "HAPROXY_{n}_BACKEND_NETWORK_ALLOWED_ACL", Field: "allowedNetworks", restricts: true, setting: (*Settings).networks,
		meaning: "addresses and networks, with spaces between; all other clients get 403. The client is whoever connects to Envoy: " +
			"`X-Forwarded-For` counts for nothing, unless a [trusted proxy](edge.md#behind-another-balancer) says it",
		byDefault: "everyone", envoy: "`rbac` of the route, `remote_ip`", example: "10.0.0.0/8 192.0.2.7"},
}

// auth never says what it read: it is a secret.
func (s *Settings) auth(value string) {
	parts := strings.Split(strings.TrimSpace(value), ":")
	if len(parts) != 3 {
		s.close("is not realm:user:hash")
		return
	}
	auth, reason := sources.NewBasicAuth(parts[0], []sources.User{{Name: parts[1], Hash: secret.String(parts[2])}})
	if reason != "" {
		s.close("%s", reason)
		return
	}
	s.http.BasicAuth = auth
	if !sources.ValidRealm(parts[0]) {
		s.problem("has a realm with other characters than letters, digits and spaces: " + sources.DefaultRealm + " is used")
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
