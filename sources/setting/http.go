package setting

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relay/internal/secret"
	"relay/sources"
)

// validPath matches what can begin the path of a request, without its query.
var validPath = regexp.MustCompile(`^/[!"$-~]*$`)

// checkPath says what is wrong with a path; nothing when it is empty.
func checkPath(path string) string {
	switch {
	case !strings.HasPrefix(path, "/"):
		return "does not begin with a slash"
	case len(path) > 1024:
		return "has more than 1024 bytes"
	case strings.ContainsAny(path, "?#"):
		return "has a query or fragment, which is no part of a path"
	case !validPath.MatchString(path):
		return "has a character that no path has unescaped: write it as % and two hexadecimal digits"
	}
	return ""
}

// path reads a single path; "" when it is none.
func (p *Port) path(value string) string {
	value = strings.TrimSpace(value)
	if value == "" {
		return ""
	}
	if wrong := checkPath(value); wrong != "" {
		p.problem("%.40q is ignored: it %s", value, wrong)
		return ""
	}
	return value
}

// paths reads a list of prefixes, after an optional "-i".
func (p *Port) paths(value string) {
	fields := strings.Fields(value)
	ignoreCase := len(fields) > 0 && fields[0] == "-i"
	if ignoreCase {
		fields = fields[1:]
	}
	if len(fields) == 0 {
		if ignoreCase {
			p.problem("names no path")
		}
		return
	}
	if len(fields) > MaxPaths {
		p.refuse(MaxPaths, "paths")
		return
	}
	// Not nil, even if all are wrong: the port must not take every path then.
	p.http.Paths = []sources.Path{}
	seen := make(map[string]bool, len(fields))
	for _, field := range fields {
		if wrong := checkPath(field); wrong != "" {
			p.problem("%.40q is not served: it %s", field, wrong)
		} else if !seen[field] {
			seen[field] = true
			p.http.Paths = append(p.http.Paths, sources.Path{Prefix: field, IgnoreCase: ignoreCase})
		}
	}
}

func (p *Port) order(value string) {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	if err != nil {
		p.problem("%.40q is ignored: write a whole number, such as 10", value)
		return
	}
	p.http.Order = int(n)
}

var validRedirect = regexp.MustCompile(`^/[!-~]*$`)

func (p *Port) rootRedirect(value string) {
	value = strings.TrimSpace(value)
	switch {
	case value == "":
	case value == "/":
		p.problem("is ignored: it would send / to itself for ever")
	case len(value) > 1024 || !validRedirect.MatchString(value) || strings.HasPrefix(value, "//"):
		p.problem("%.40q is ignored: write a path, such as /app", value)
	default:
		p.http.RootRedirect = value
	}
}

var (
	// In the form that Envoy takes: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/basic_auth_filter
	validHash  = regexp.MustCompile(`^\{SHA\}[A-Za-z0-9+/]{27}=$`)
	validUser  = regexp.MustCompile(`^[!"$-9;-~][!-9;-~]{0,254}$`)
	validRealm = regexp.MustCompile(`^[ !#-\[\]-~]{0,100}$`)
)

// auth never says what it read: it is a secret.
func (p *Port) auth(value string) {
	parts := strings.Split(strings.TrimSpace(value), ":")
	switch {
	case len(parts) != 3:
		p.close("is not realm:user:hash")
	case !validUser.MatchString(parts[1]):
		p.close("has a user name that Envoy cannot check: use letters, digits and hyphens")
	case !validHash.MatchString(parts[2]):
		p.close("has a password hash of a kind that Envoy cannot check: make it with htpasswd -s, it begins with {SHA}")
	default:
		p.http.BasicAuth = &sources.BasicAuth{Realm: "Restricted", User: parts[1], Hash: secret.String(parts[2])}
		if !validRealm.MatchString(parts[0]) {
			p.problem("has a realm with other characters than letters, digits and spaces: Restricted is used")
		} else if parts[0] != "" {
			p.http.BasicAuth.Realm = parts[0]
		}
	}
}

func (p *Port) networks(value string) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		p.close("names no network")
		return
	}
	if len(fields) > MaxNetworks {
		p.refuse(MaxNetworks, "networks")
		return
	}
	var networks []netip.Prefix
	for _, field := range fields {
		network, ok := parseNetwork(field)
		if !ok {
			p.close("%.40q is not an IP address or network, such as 10.0.0.0/8", field)
			return
		}
		networks = append(networks, network)
	}
	slices.SortFunc(networks, netip.Prefix.Compare)
	p.http.AllowedNetworks = slices.Compact(networks)
}

func parseNetwork(s string) (netip.Prefix, bool) {
	if address, err := netip.ParseAddr(s); err == nil {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), address.Zone() == ""
	}
	network, err := netip.ParsePrefix(s)
	return network.Masked(), err == nil && !network.Addr().Is4In6()
}

func (p *Port) clusterWeight(value string) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
	if err != nil || n > 10000 {
		p.problem("%.40q is ignored: write a number from 0 to 10000", value)
		return
	}
	weight := uint32(n)
	p.http.ClusterWeight = &weight
}
