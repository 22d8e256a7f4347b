package setting

import (
	"regexp"
	"strings"

	"relay/sources"
)

// balance reads HAProxy's algorithms (https://docs.haproxy.org/2.8/configuration.html#4.2-balance).
func (p *Port) balance(value string) {
	algorithm, arguments, _ := strings.Cut(strings.TrimSpace(value), " ")
	arguments = strings.TrimSpace(arguments)
	switch name := strings.ToLower(algorithm); {
	case name == "":
		return
	case name == "roundrobin" || name == "static-rr":
		p.upstream.Balance = sources.BalanceRoundRobin
	case name == "leastconn":
		p.upstream.Balance = sources.BalanceLeastRequest
	case name == "random" || strings.HasPrefix(name, "random("):
		p.upstream.Balance = sources.BalanceRandom
	case name == "source":
		p.http.Hash = &sources.Hash{By: sources.HashSourceIP}
	case name == "uri" && arguments == "whole":
		p.http.Hash = &sources.Hash{By: sources.HashURI}
		return
	case name == "uri":
		p.http.Hash = &sources.Hash{By: sources.HashPath}
	case name == "url_param":
		parameter, rest, _ := strings.Cut(arguments, " ")
		p.http.Hash = p.namedHash(sources.HashQueryParameter, parameter, value)
		arguments = rest
	case strings.HasPrefix(name, "hdr(") && strings.HasSuffix(name, ")"):
		p.http.Hash = p.namedHash(sources.HashHeader, name[len("hdr("):len(name)-1], value)
	case name == "first" || strings.HasPrefix(name, "rdp-cookie"):
		p.problem("%.40q is not something Envoy can do: round robin is used", value)
		p.upstream.Balance = sources.BalanceRoundRobin
		return
	default:
		p.problem("%.40q is not an algorithm that is known: the default is used", value)
		return
	}
	if arguments != "" {
		p.problem("of %.40q, %.40q is ignored", value, arguments)
	}
}

var (
	validToken     = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$") // RFC 9110, section 5.6.2
	validParameter = regexp.MustCompile(`^[A-Za-z0-9._~\[\]-]{1,128}$`)
)

// namedHash returns nil if the name is not of the kind.
func (p *Port) namedHash(by sources.HashBy, name, value string) *sources.Hash {
	valid := validToken
	switch by {
	case sources.HashHeader:
		name = strings.ToLower(name)
	case sources.HashQueryParameter:
		valid = validParameter
	}
	if !valid.MatchString(name) {
		p.problem("%.40q is ignored: %.40q is not a name of the kind that is hashed", value, name)
		return nil
	}
	return &sources.Hash{By: by, Name: name}
}

var hashKinds = map[string]sources.HashBy{
	"header": sources.HashHeader, "cookie": sources.HashCookie, "query_parameter": sources.HashQueryParameter,
}

// readHashPolicy reads the kind and the name, in Envoy's words.
func (p *Port) readHashPolicy(value string) {
	fields := strings.Fields(value)
	switch {
	case len(fields) == 0:
	case len(fields) == 1 && fields[0] == "source_ip":
		p.hashPolicy = &sources.Hash{By: sources.HashSourceIP}
	case len(fields) == 2 && hashKinds[fields[0]] != 0:
		p.hashPolicy = p.namedHash(hashKinds[fields[0]], fields[1], value)
	default:
		p.problem("%.40q is ignored: write header NAME, cookie NAME, query_parameter NAME or source_ip", value)
	}
}
