package labels

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
)

// Where requests go.
var routingLabels = []Label{
	{Key: "HAPROXY_GROUP", noField: "each port has groups of its own", ofApp: func(r *reader, key, value string) { r.groups = r.readGroups(key, value) },
		meaning: "the fleets that serve the app, with commas between", byDefault: "none", envoy: "which fleet's resources", example: "external"},
	{Key: "HAPROXY_{n}_GROUP", Field: "groups", ofPort: func(r *reader, key string, port int, value string) { r.ownGroups[port] = r.readGroups(key, value) },
		meaning: "the same for one port, in place of `HAPROXY_GROUP`", example: "internal,external"},
	{Key: "HAPROXY_{n}_ENABLED", noField: "groups: [] takes a port out", ofPort: (*reader).readEnabled,
		meaning: "`false` takes the port out", byDefault: "`true`", example: "false"},
	{Key: "HAPROXY_{n}_VHOST", Field: "domains", ofPort: (*reader).readVHost,
		meaning:   "domains, with commas or spaces between; `*.shop.test` stands for all names below",
		byDefault: "none", envoy: "scope, virtual host", example: "shop.test, *.shop.test"},
	{Key: "HAPROXY_{n}_PATH", Field: "paths", httpOnly: true, setting: (*Settings).paths, tooLong: (*Settings).noPath,
		meaning: "prefixes of paths, with spaces between; after a leading `-i` upper and lower case are the same. `/api` also stands for `/apix`. " +
			"Needs a domain. If none can be understood, the port gets no request",
		byDefault: "every path", envoy: "`match.prefix`, `case_sensitive`", example: "-i /api /v2"},
	{Key: "HAPROXY_{n}_BACKEND_WEIGHT", Field: "order", httpOnly: true, setting: (*Settings).order,
		meaning:   "whole number, may be negative: which port of a domain is asked first",
		byDefault: "0, or 1 with `PATH`", envoy: "order of `routes`", example: "10"},
	{Key: "RELAY_{n}_CLUSTER_WEIGHT", Field: "clusterWeight", httpOnly: true, setting: (*Settings).clusterWeight,
		meaning:   "share of requests among ports with the same domain, paths and order that have this label too; 0 to 10000",
		byDefault: "no share", envoy: "`weighted_clusters`", example: "10"},
	{Key: "HAPROXY_{n}_REDIRECT_TO_HTTPS", Field: "redirectToHTTPS", ofPort: (*reader).readRedirect,
		meaning:   "plain HTTP gets 301 to https, for the port's paths",
		byDefault: "`false`", envoy: "`redirect.https_redirect` where `x-forwarded-proto` is `http`", example: "true"},
	{Key: "HAPROXY_{n}_HTTP_BACKEND_REDIR", Field: "rootRedirect", httpOnly: true, setting: (*Settings).rootRedirect, shown: shownURL,
		meaning:   "a path to which `/` alone is sent, by 301",
		byDefault: "none", envoy: "route for exactly `/`, `redirect.path_redirect`", example: "/app/"},
	{Key: "MARATHON_ACME_{n}_DOMAIN", Field: "acmeDomains", ofPort: (*reader).readACMEDomains,
		meaning:   "domains whose ACME challenges go to marathon-acme on plain HTTP, whatever else the app asks for",
		byDefault: "none", envoy: "route for `/.well-known/acme-challenge/`", example: "shop.test"},
}

// validPath matches what can begin the path of a request, without its query.
var validPath = regexp.MustCompile(`^/[!"$-~]*$`)

// CheckPath says what is wrong with the prefix of a path.
func CheckPath(path string) error {
	if wrong := checkPath(path); wrong != "" {
		return fmt.Errorf("has the path %.40q, which %s", path, wrong)
	}
	return nil
}

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
func (s *Settings) path(value string) string {
	value = strings.TrimSpace(value)
	if value == "" {
		return ""
	}
	if wrong := checkPath(value); wrong != "" {
		s.problem("%.40q is ignored: it %s", value, wrong)
		return ""
	}
	return value
}

// paths reads a list of prefixes, after an optional "-i".
func (s *Settings) paths(value string) {
	fields := strings.Fields(value)
	ignoreCase := len(fields) > 0 && fields[0] == "-i"
	if ignoreCase {
		fields = fields[1:]
	}
	if len(fields) == 0 {
		if ignoreCase {
			s.problem("names no path")
		}
		return
	}
	if len(fields) > MaxPaths {
		s.refuse(MaxPaths, "paths")
		return
	}
	// Not nil, even if all are wrong: the port must not take every path then.
	s.http.Paths = []sources.Path{}
	seen := make(map[string]bool, len(fields))
	for _, field := range fields {
		if wrong := checkPath(field); wrong != "" {
			s.failing("%.40q is not served: it %s", field, wrong)
		} else if !seen[field] {
			seen[field] = true
			s.http.Paths = append(s.http.Paths, sources.Path{Prefix: field, IgnoreCase: ignoreCase})
		}
	}
}

func (s *Settings) order(value string) {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	if err != nil {
		s.problem("%.40q is ignored: write a whole number, such as 10", value)
		return
	}
	s.http.Order = int(n)
}

var validRedirect = regexp.MustCompile(`^/[!-~]*$`)

func (s *Settings) rootRedirect(value string) {
	value = strings.TrimSpace(value)
	switch {
	case value == "":
	case value == "/":
		s.problem("is ignored: it would send / to itself for ever")
	case len(value) > 1024 || !validRedirect.MatchString(value) || strings.HasPrefix(value, "//"):
		s.problem("%.40q is ignored: write a path, such as /app", value)
	default:
		s.http.RootRedirect = value
	}
}

func (s *Settings) clusterWeight(value string) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
	if err != nil || n > 10000 {
		s.problem("%.40q is ignored: write a number from 0 to 10000", value)
		return
	}
	weight := uint32(n)
	s.http.ClusterWeight = &weight
}

// noPath serves no path, as it is not known which.
func (s *Settings) noPath() string {
	s.http.Paths = []sources.Path{}
	return "no path is served"
}

func (r *reader) readEnabled(key string, port int, value string) {
	if _, ok := parseBool(value); !ok && r.short(key, value) {
		r.problems.AddFailing(key, "%q is taken as false, which takes the port out: write true or false", sources.Clip(value))
		r.disabled[port] = true
		return
	}
	if !r.readBool(key, value, true) {
		r.disabled[port] = true
	}
}

func (r *reader) readRedirect(key string, port int, value string) {
	r.ports[port].RedirectToHTTPS = r.readBool(key, value, false)
}

func (r *reader) readVHost(key string, port int, value string) {
	r.ports[port].Domains = r.readDomains(&r.domains, key, value)
}

func (r *reader) readACMEDomains(key string, port int, value string) {
	r.ports[port].ACMEDomains = r.readDomains(&r.acmeDomains, key, value)
}

// readBool takes marathon-lb's words for true, and 1; everything else is false.
func (r *reader) readBool(key, value string, fallback bool) bool {
	if !r.short(key, value) {
		return false
	}
	if strings.TrimSpace(value) == "" {
		return fallback
	}
	truth, ok := parseBool(value)
	if !ok {
		r.problem(key, "%q is taken as false: write true or false", sources.Clip(value))
	}
	return truth
}

// readDomains reads the first domains of a value, as many as the limits allow.
func (r *reader) readDomains(count *sources.DomainCount, key, value string) []string {
	size := len(value)
	if size > sources.MaxSettingBytes {
		if r.longLists++; r.longLists > maxLongLists {
			r.short(key, value)
			return nil
		}
		value = value[:max(0, strings.LastIndexFunc(value[:sources.MaxSettingBytes+1], isBetweenDomains))]
	}
	fields := strings.FieldsFunc(value, isBetweenDomains)
	read, tooMany := count.Add(len(fields))
	fields = fields[:read]
	if size > sources.MaxSettingBytes {
		tooMany = fmt.Sprintf("has %d bytes, and at most %d are read: only its first %d entries are routed. Split the app", size, sources.MaxSettingBytes, read)
	}
	if tooMany != "" {
		r.problems.AddFailing(key, "%s", tooMany)
	}
	var domains []string
	seen := make(map[string]bool, len(fields))
	for _, field := range fields {
		domain, remark, err := hostname.Routed(field)
		if err != nil {
			host, _, _ := hostname.Bare(field)
			host = strings.ToLower(host)
			r.problems.AddTo(problem.Problem{Subject: key, Domain: host, Severity: problem.Failing}, "%s", err)
			r.notRouted(sources.Unrouted{Domain: host}, key, "it is refused: "+sources.ClipReason(err.Error()))
			continue
		}
		if remark != "" {
			r.problems.AddTo(problem.Problem{Subject: key, Domain: domain, Severity: problem.Advice}, "%s", remark)
		}
		if !seen[domain] {
			seen[domain] = true
			domains = append(domains, domain)
		}
	}
	return domains
}

// readGroups splits at commas; white space around a name does not count.
func (r *reader) readGroups(key, value string) []string {
	if !r.short(key, value) {
		return nil
	}
	if strings.Count(value, ",") >= sources.MaxGroups {
		r.problem(key, "is ignored: it has more than %d groups", sources.MaxGroups)
		return nil
	}
	var groups []string
	for g := range strings.SplitSeq(value, ",") {
		if g = strings.TrimSpace(g); g != "" && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}
