package labels

import (
	"regexp"
	"strconv"
	"strings"

	"relay/sources"
)

// How an instance is chosen.
var balanceLabels = []Label{
	{Key: "HAPROXY_{n}_BALANCE", Field: "balance", setting: (*Settings).balance,
		meaning: "`roundrobin`, `static-rr`", byDefault: "least requests", envoy: "`lb_policy: ROUND_ROBIN`", example: "roundrobin",
		more: []docRow{
			{"`leastconn`", "`LEAST_REQUEST`", "leastconn"},
			{"`random`", "`RANDOM`", "random"},
			{"`source`: by the client's address", "`MAGLEV`, `hash_policy.connection_properties.source_ip`", "source"},
			{"`uri`: by the path, with `whole` also by the query (`len` and `depth` are ignored)", "`MAGLEV`, `hash_policy.header` of `:path`", "uri"},
			{"`hdr(NAME)`: by a header", "`MAGLEV`, `hash_policy.header`", "hdr(X-User)"},
			{"`url_param NAME`: by a parameter of the query", "`MAGLEV`, `hash_policy.query_parameter`", "url_param user"},
			{"`first`, `rdp-cookie`: not supported, round robin is used", "", ""},
		}},
	{Key: "RELAY_{n}_HASH_POLICY", Field: "hashPolicy", setting: (*Settings).readHashPolicy,
		meaning:   "`header NAME`, `cookie NAME`, `query_parameter NAME` or `source_ip`: what is equal there goes to the same instance; overrides `BALANCE`",
		byDefault: "none", envoy: "`MAGLEV`, `hash_policy`", example: "cookie session",
		more: []docRow{
			{"`path_segment N`: by a segment of the path, counted from 1: of `/agents/ID/x`, segment 2 is `ID` ([agents by id](connections.md#agents-by-id))",
				"`MAGLEV`, `hash_policy.header` of `:path`", "path_segment 2"},
			{"`subdomain`: by the first label of the host", "`MAGLEV`, `hash_policy.filter_state`", "subdomain"},
		}},
	{Key: "HAPROXY_{n}_STICKY", Field: "sticky", httpOnly: true, setting: func(s *Settings, v string) { s.http.Sticky = s.flag(v, false) },
		meaning: "a client stays with its instance, also while that drains, by a session cookie, " +
			"which holds the instance's address. Its name is `mesosphere_server_id_`, and eight hexadecimal digits that each app port has of its own",
		byDefault: "`false`", envoy: "`stateful_session` of the route, `override_host_status`", example: "true"},
}

// balance reads HAProxy's algorithms (https://docs.haproxy.org/2.8/configuration.html#4.2-balance).
func (s *Settings) balance(value string) {
	algorithm, arguments, _ := strings.Cut(strings.TrimSpace(value), " ")
	arguments = strings.TrimSpace(arguments)
	switch name := strings.ToLower(algorithm); {
	case name == "":
		return
	case name == "roundrobin" || name == "static-rr":
		s.upstream.Balance = sources.BalanceRoundRobin
	case name == "leastconn":
		s.upstream.Balance = sources.BalanceLeastRequest
	case name == "random" || strings.HasPrefix(name, "random("):
		s.upstream.Balance = sources.BalanceRandom
	case name == "source":
		s.http.Hash = &sources.Hash{By: sources.HashSourceIP}
	case name == "uri" && arguments == "whole":
		s.http.Hash = &sources.Hash{By: sources.HashURI}
		return
	case name == "uri":
		s.http.Hash = &sources.Hash{By: sources.HashPath}
	case name == "url_param":
		parameter, rest, _ := strings.Cut(arguments, " ")
		s.http.Hash = s.namedHash(sources.HashQueryParameter, parameter, value)
		arguments = rest
	case strings.HasPrefix(name, "hdr(") && strings.HasSuffix(name, ")"):
		s.http.Hash = s.namedHash(sources.HashHeader, name[len("hdr("):len(name)-1], value)
	case name == "first" || strings.HasPrefix(name, "rdp-cookie"):
		s.problem("%.40q is not something Envoy can do: round robin is used", value)
		s.upstream.Balance = sources.BalanceRoundRobin
		return
	default:
		s.problem("%.40q is not an algorithm that is known, and the default is used: write roundrobin, static-rr, leastconn, random, source, uri, hdr(NAME) or url_param NAME", value)
		return
	}
	if arguments != "" {
		s.problem("of %.40q, %.40q is ignored", value, arguments)
	}
}

var (
	validToken     = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$") // RFC 9110, section 5.6.2
	validParameter = regexp.MustCompile(`^[A-Za-z0-9._~\[\]-]{1,128}$`)
)

// namedHash returns nil if the name is not of the kind.
func (s *Settings) namedHash(by sources.HashBy, name, value string) *sources.Hash {
	valid := validToken
	switch by {
	case sources.HashHeader:
		name = strings.ToLower(name)
	case sources.HashQueryParameter:
		valid = validParameter
	}
	if !valid.MatchString(name) {
		s.problem("%.40q is ignored: %.40q is not a name of the kind that is hashed", value, name)
		return nil
	}
	return &sources.Hash{By: by, Name: name}
}

var hashKinds = map[string]sources.HashBy{
	"header": sources.HashHeader, "cookie": sources.HashCookie, "query_parameter": sources.HashQueryParameter,
}

// readHashPolicy reads the kind and the name, in Envoy's words.
func (s *Settings) readHashPolicy(value string) {
	fields := strings.Fields(value)
	switch {
	case len(fields) == 0:
	case len(fields) == 1 && fields[0] == "source_ip":
		s.hashPolicy = &sources.Hash{By: sources.HashSourceIP}
	case len(fields) == 1 && fields[0] == "subdomain":
		s.hashPolicy = &sources.Hash{By: sources.HashSubdomain}
	case len(fields) == 2 && fields[0] == "path_segment":
		n, err := strconv.Atoi(fields[1])
		if err != nil || n < 1 || n > sources.MaxSegment {
			s.problem("%.40q is ignored: segments of a path are counted from 1 to %d", value, sources.MaxSegment)
			return
		}
		s.hashPolicy = &sources.Hash{By: sources.HashPathSegment, Segment: n}
	case len(fields) == 2 && hashKinds[fields[0]] != 0:
		s.hashPolicy = s.namedHash(hashKinds[fields[0]], fields[1], value)
	default:
		s.problem("%.40q is ignored: write header NAME, cookie NAME, query_parameter NAME, path_segment N, subdomain or source_ip", value)
	}
}
