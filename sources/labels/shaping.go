package labels

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/sources"
)

// How requests and answers are changed.
var shapingLabels = []Label{
	{Key: "RELAY_{n}_REDIRECT", Field: "redirect", httpOnly: true, setting: (*Settings).redirects,
		meaning: "one `[HOST][PATH] -> TARGET [CODE]` a line: requests for the host and path are sent to the target, a path or a URL, with the query that they have. A `*` at the end of a path is " +
			"the rest of it, and a `*` at the end of the target is the same rest. Without `PATH` it is every path, and a target without a path keeps it. `CODE` is 301, 302, 303, 307 or 308",
		byDefault: "none; `301`", envoy: "route with `redirect`, before the others", example: "www.shop.test -> https://shop.test 308\n/old/* -> /new/*"},
	{Key: "RELAY_{n}_PATH_REWRITE", Field: "pathRewrite", httpOnly: true, setting: (*Settings).pathRewrite,
		meaning: "`PATTERN -> PATH`: what the pattern, an expression of RE2, matches at the beginning of the path becomes `PATH`, in which `\\1` is the first group. The query stays. " +
			"It overrides `HTTP_BACKEND_PROXYPASS_PATH`",
		byDefault: "none", envoy: "`regex_rewrite`", example: `/v[0-9]+/users/([^/]+) -> /users/\1/profile`},
	{Key: "RELAY_{n}_HOST_REWRITE", Field: "hostRewrite", httpOnly: true, setting: (*Settings).hostRewrite,
		meaning:   "a host, with or without a port, that the app sees in place of the client's, which is in `X-Forwarded-Host` then",
		byDefault: "none", envoy: "`host_rewrite_literal`, `append_x_forwarded_host`", example: "shop.internal"},
	{Key: "RELAY_{n}_CORS_ORIGINS", Field: "corsOrigins", httpOnly: true, setting: (*Settings).corsOrigins,
		meaning:   "the other sites whose pages may ask: `https://shop.test`, `https://*.shop.test` for all below, or `*` alone for all. Envoy answers preflight requests itself",
		byDefault: "what the app says", envoy: "`access-control-*` in `response_headers_to_add`, a route for preflight requests", example: "https://shop.test https://*.partner.test"},
	{Key: "RELAY_{n}_CORS_METHODS", Field: "corsMethods", httpOnly: true, setting: func(s *Settings, v string) { s.cors.Methods = s.methods(v) },
		meaning: "the methods that pages may use besides `GET`, `HEAD` and `POST`", byDefault: "none", envoy: "`access-control-allow-methods`", example: "PUT DELETE"},
	{Key: "RELAY_{n}_CORS_HEADERS", Field: "corsHeaders", httpOnly: true, setting: func(s *Settings, v string) { s.cors.Headers = s.corsHeaders(v) },
		meaning: "the headers that pages may send beside the usual ones, or `*` for all", byDefault: "none", envoy: "`access-control-allow-headers`", example: "Authorization X-Requested-With"},
	{Key: "RELAY_{n}_CORS_EXPOSE_HEADERS", Field: "corsExposeHeaders", httpOnly: true, setting: func(s *Settings, v string) { s.cors.ExposeHeaders = s.corsHeaders(v) },
		meaning: "the headers of answers that pages may read beside the usual ones", byDefault: "none", envoy: "`access-control-expose-headers`", example: "X-Total"},
	{Key: "RELAY_{n}_CORS_CREDENTIALS", Field: "corsCredentials", httpOnly: true, setting: func(s *Settings, v string) { s.cors.Credentials = s.flag(v, false) },
		meaning: "pages may send cookies and passwords; not with the origin `*`", byDefault: "`false`", envoy: "`access-control-allow-credentials`", example: "true"},
	{Key: "RELAY_{n}_CORS_MAX_AGE", Field: "corsMaxAge", httpOnly: true, setting: (*Settings).corsMaxAge,
		meaning: "how long browsers remember the answer to a preflight request, up to `24h`", byDefault: "the browser's own", envoy: "`access-control-max-age`", example: "1h"},
	{Key: "RELAY_{n}_COMPRESS", Field: "compress", httpOnly: true, setting: (*Settings).compress,
		meaning:   "`true`, or names of `zstd`, `br` and `gzip`, of which the first is preferred: answers are compressed for clients that take that, if they are text of 1024 bytes or more and not compressed yet",
		byDefault: "`false`", envoy: "`compressor` of the route", example: "true"},
	{Key: "RELAY_{n}_STICKY_HEADER", Field: "stickyHeader", httpOnly: true, setting: (*Settings).stickyHeader,
		meaning:   "a header of answers that names the instance: a client that sends it again stays with that instance, also while it drains. For clients without cookies",
		byDefault: "none", envoy: "`stateful_session` of the route", example: "X-Session"},
	{Key: "RELAY_{n}_PRIORITY", Field: "priority", httpOnly: true, setting: (*Settings).urgent,
		meaning:   "prefixes of paths, with spaces between, whose requests are counted apart by `MAX_CONNECTIONS`, `MAX_PENDING_REQUESTS` and `MAX_REQUESTS`: they go on when the others have reached the limit",
		byDefault: "none", envoy: "`route.priority: HIGH`", example: "/health /checkout"},
	{Key: "RELAY_{n}_OUTLIER_DETECTION", Field: "outlierDetection", httpOnly: true, setting: (*Settings).outlierDetection,
		meaning: "`N [TIME]`: an instance that answers with a status of 500 or more N times in a row, 2 to 1000, gets no requests for this time, and longer each further time; " +
			"at most two thirds of the instances are left out",
		byDefault: "off; `10s`", envoy: "`consecutive_5xx`, `base_ejection_time`", example: "5 30s"},
	{Key: "RELAY_{n}_MIRROR", Field: "mirror", httpOnly: true, setting: (*Settings).mirrors,
		meaning: "`/APP PERCENT%`, up to three with commas between: another app is sent copies of so many requests, of its port 0, or of another one as in `/shop/next:1`. Nobody gets its answers. " +
			"It must be in the same top-level folder, or name this app in `RELAY_{n}_USED_BY`",
		byDefault: "none", envoy: "`request_mirror_policies`, a cluster that ends with `~mirror`", example: "/shop/next 5%"},
	{Key: "RELAY_{n}_FAULT", Field: "fault", httpOnly: true, setting: (*Settings).fault,
		meaning:   "`delay TIME PERCENT%`, `abort STATUS PERCENT%`, or both with a comma between: some requests are held up, up to `1m`, or answered with a status of 400 to 599. Only in fleets with `faults: true`",
		byDefault: "none", envoy: "`fault` of the route", example: "delay 2s 10%, abort 503 1%"},
}

// shaping returns what is said about how requests and answers are changed, to be added to.
func (s *Settings) shaping() *sources.Shaping {
	if s.http.Shaping == nil {
		s.http.Shaping = new(sources.Shaping)
	}
	return s.http.Shaping
}

// finishShaping settles what labels about requests and answers say together.
func (s *Settings) finishShaping() {
	s.finishCORS()
	h := s.http.Shaping
	if h == nil {
		return
	}
	if u := s.upstream; len(h.Urgent) > 0 && u.MaxConnections == 0 && u.MaxPendingRequests == 0 && u.MaxRequests == 0 {
		s.problemOn("PRIORITY", "has no effect without MAX_CONNECTIONS, MAX_PENDING_REQUESTS or MAX_REQUESTS")
	}
	if h.StickyHeader != "" && s.http.Sticky {
		h.StickyHeader = ""
		s.problemOn("STICKY_HEADER", "has no effect beside STICKY: clients stay with their instance by a cookie")
	}
	if h.PathRewrite != nil && s.http.StripPrefix != "" {
		s.http.StripPrefix = ""
		s.problemOn("HTTP_BACKEND_PROXYPASS_PATH", "has no effect beside PATH_REWRITE")
	}
}

// validHost matches a host and a port, in lower case.
var validHost = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?(:[0-9]{1,5})?$`)

func (s *Settings) hostRewrite(value string) {
	value = strings.ToLower(strings.TrimSpace(value))
	switch {
	case value == "":
	case !validHost.MatchString(value):
		s.problem("%.40q is ignored: write a host, with or without a port, such as shop.internal:8080", value)
	default:
		s.shaping().Host = value
	}
}

var encodings = []sources.Encoding{sources.Zstd, sources.Brotli, sources.Gzip}

func (s *Settings) compress(value string) {
	if truth, ok := parseBool(value); ok {
		if truth {
			s.shaping().Compress = new(sources.Compress)
		}
		return
	}
	var chosen []sources.Encoding
	for _, field := range splitList(value) {
		e := sources.Encoding(strings.ToLower(field))
		if !slices.Contains(encodings, e) {
			s.problem("%.40q is ignored: write true, false, or some of zstd, br and gzip", field)
		} else if !slices.Contains(chosen, e) {
			chosen = append(chosen, e)
		}
	}
	if len(chosen) > 0 {
		s.shaping().Compress = &sources.Compress{Encodings: chosen}
	}
}

func (s *Settings) stickyHeader(value string) {
	if strings.TrimSpace(value) == "" {
		return
	}
	if name, ok := s.headerName(value); ok {
		s.shaping().StickyHeader = name
	}
}

// maxUrgent is how many paths may have limits of their own.
const maxUrgent = 20

func (s *Settings) urgent(value string) {
	fields := strings.Fields(value)
	if len(fields) > maxUrgent {
		s.refuse(maxUrgent, "paths")
		return
	}
	for _, field := range fields {
		if wrong := checkPath(field); wrong != "" {
			s.problem("%.40q is ignored: it %s", field, wrong)
		} else {
			s.shaping().Urgent = append(s.shaping().Urgent, field)
		}
	}
}

// What an instance may be left out for.
const (
	minErrors, maxErrors = 2, 1000
	minEjection          = time.Second
	maxEjection          = time.Hour
)

func (s *Settings) outlierDetection(value string) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil || n < minErrors || n > maxErrors || len(fields) > 2 {
		s.problem("%.40q is ignored: write how many errors in a row, %d to %d, and for how long, such as 5 30s", value, minErrors, maxErrors)
		return
	}
	if len(fields) == 2 {
		d, err := time.ParseDuration(fields[1])
		if err != nil || d < minEjection || d > maxEjection {
			s.problem("%.40q is ignored: an instance can be left out for %s to %s", value, short(minEjection), short(maxEjection))
			return
		}
		s.upstream.EjectFor = d
	}
	s.upstream.EjectAfter = uint32(n)
}

// maxMirrors is how many apps are sent copies.
const maxMirrors = 3

func (s *Settings) mirrors(value string) {
	var mirrors []sources.Mirror
	for part := range strings.SplitSeq(value, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 {
			continue
		}
		ref, ok := parseAppRef(fields[0])
		percent, isPercent := float64(0), false
		if len(fields) == 2 {
			percent, isPercent = parsePercent(fields[1])
		}
		if !ok || !isPercent || len(mirrors) == maxMirrors || slices.ContainsFunc(mirrors, func(m sources.Mirror) bool { return m.To == ref }) {
			s.problem("%.80q is ignored: write up to %d apps and how many percent of the requests each is sent, such as /shop/next 5%%", value, maxMirrors)
			return
		}
		mirrors = append(mirrors, sources.Mirror{To: ref, Percent: percent})
	}
	if len(mirrors) > 0 {
		s.shaping().Mirrors = mirrors
	}
}

// longestDelay bounds what delayed requests hold in an Envoy.
const longestDelay = time.Minute

func (s *Settings) fault(value string) {
	var f sources.Fault
	for part := range strings.SplitSeq(value, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 {
			continue
		}
		if !readFault(&f, fields) {
			s.problem("%.40q is ignored: write delay 2s 10%%, abort 503 1%%, or both with a comma between; up to %s, and a status from 400 to 599", value, short(longestDelay))
			return
		}
	}
	if f != (sources.Fault{}) {
		s.shaping().Fault = &f
	}
}

// readFault reads what is done, how, and to how many percent.
func readFault(f *sources.Fault, fields []string) bool {
	if len(fields) != 3 {
		return false
	}
	percent, ok := parsePercent(fields[2])
	if !ok {
		return false
	}
	switch strings.ToLower(fields[0]) {
	case "delay":
		d, err := time.ParseDuration(fields[1])
		if err != nil || d < time.Millisecond || d > longestDelay || f.Delay != 0 {
			return false
		}
		f.Delay, f.DelayPercent = d, percent
	case "abort":
		status, err := strconv.Atoi(fields[1])
		if err != nil || status < 400 || status > 599 || f.Abort != 0 {
			return false
		}
		f.Abort, f.AbortPercent = status, percent
	default:
		return false
	}
	return true
}

var validPercent = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,4})?%$`)

// parsePercent reads "10%" or "0.5%": more than none, and no more than all.
func parsePercent(text string) (percent float64, ok bool) {
	if !validPercent.MatchString(text) {
		return 0, false
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	return percent, err == nil && percent > 0 && percent <= 100
}
