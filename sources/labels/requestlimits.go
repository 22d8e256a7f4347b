package labels

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"relay/sources"
)

// How much clients may ask for.
var requestLimitLabels = []Label{
	{Key: "RELAY_{n}_RATE_LIMIT", Field: "rateLimit", httpOnly: true, setting: func(s *Settings, v string) { s.rateLimit(v) },
		meaning: "how many requests there may be a second (`/s`), minute (`/m`), hour (`/h`) or day (`/d`), and with `burst` how many at once. Others get 429 with `Retry-After`. " +
			"Each Envoy counts for itself, and [each domain and path](rate-limits.md#what-counts) on its own; with [`rate-limit-service`](rate-limits.md#over-all-envoys) all count together",
		byDefault: "no limit; `burst` is the number before the slash", envoy: "`local_ratelimit`, `ratelimit`", example: "100/s burst 200"},
	{Key: "RELAY_{n}_RATE_LIMIT_PER_CLIENT", Field: "rateLimitPerClient", httpOnly: true, setting: func(s *Settings, v string) { s.rateLimitPerClient(v) },
		meaning:   "the same for each client: its address (IPv6: the first 64 bits), as [trusted proxies](edge.md) tell it. With `by header`, for each value of this header; requests without it count by address",
		byDefault: "no limit", envoy: "`local_ratelimit` with a descriptor", example: "10/s burst 20 by header X-Api-Key"},
	{Key: "RELAY_{n}_MAX_REQUEST_BODY", Field: "maxRequestBody", httpOnly: true, setting: func(s *Settings, v string) { s.maxRequestBody(v) },
		meaning: fmt.Sprintf("how large the body of a request may be, in `kB`, `MB` or `GB` (1024 each). A larger one gets 413. A body whose length the client did not say [is held in Envoy](rate-limits.md#sizes) until it is there, "+
			"and may have %d MB at most", sources.MaxHeldBody>>20),
		byDefault: "no limit", envoy: "a route by `content-length`; `buffer`", example: "10MB"},
	{Key: "RELAY_{n}_MAX_REQUEST_HEADERS", Field: "maxRequestHeaders", httpOnly: true, setting: func(s *Settings, v string) { s.maxRequestHeaders(v) },
		meaning:   fmt.Sprintf("how large the head of a request may be: path, names and values of headers. A larger one gets 431. From 1 kB to %d kB", maxHeaders>>10),
		byDefault: "60 kB, Envoy's own", envoy: "`lua`", example: "16kB"},
}

const (
	// maxRate is a million: more in a second than any Envoy takes.
	maxRate  = 1_000_000
	maxBurst = 10_000_000
	// maxBody is more than anybody sends, and minHeaders what every browser needs.
	maxBody    = 1 << 40
	minHeaders = 1 << 10
	maxHeaders = 60 << 10
)

var rateUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// requestLimits are the limits of the port, which are made when the first is asked for.
func (s *Settings) requestLimits() *sources.RequestLimits {
	if s.http.RequestLimits == nil {
		s.http.RequestLimits = &sources.RequestLimits{}
	}
	return s.http.RequestLimits
}

// rateLimit takes no limit where it does not understand one, and says so: a limit protects an app, and
// keeps nobody from what is not for them.
func (s *Settings) rateLimit(value string) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return
	}
	rate, rest, ok := parseRate(fields)
	if !ok || len(rest) > 0 {
		s.noLimit(value, "write how many requests in which time, such as 100/s, 600/m, or 100/s burst 200")
		return
	}
	s.requestLimits().Rate = &rate
}

func (s *Settings) rateLimitPerClient(value string) {
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return
	}
	rate, rest, ok := parseRate(fields)
	limit := sources.ClientRate{Rate: rate}
	if ok && len(rest) == 3 && strings.EqualFold(rest[0], "by") && strings.EqualFold(rest[1], "header") {
		limit.Header, ok = s.headerName(rest[2])
		rest = nil
	}
	if !ok || len(rest) > 0 {
		s.noLimit(value, "write how many requests of each client in which time, such as 10/s, 10/s burst 20, or 10/s by header X-Api-Key")
		return
	}
	s.requestLimits().PerClient = &limit
}

func (s *Settings) noLimit(value, instead string) {
	s.failing("%.60q is not understood, so there is no limit: %s", value, instead)
}

// parseRate reads "100/s" and, if they come next, "burst 200". It returns what follows.
func parseRate(fields []string) (rate sources.Rate, rest []string, ok bool) {
	number, unit, _ := strings.Cut(strings.ToLower(fields[0]), "/")
	rate.Requests, ok = parseCount(number, maxRate)
	rate.Per = rateUnits[unit]
	rate.Burst, rest = rate.Requests, fields[1:]
	if !ok || rate.Per == 0 {
		return rate, nil, false
	}
	if len(rest) >= 2 && strings.EqualFold(rest[0], "burst") {
		rate.Burst, ok = parseCount(rest[1], maxBurst)
		rest = rest[2:]
	}
	return rate, rest, ok
}

func parseCount(number string, most uint64) (uint32, bool) {
	n, err := strconv.ParseUint(number, 10, 32)
	return uint32(n), err == nil && n > 0 && n <= most
}

func (s *Settings) maxRequestBody(value string) {
	if n, ok := s.size(value, 1, maxBody); ok {
		s.requestLimits().MaxBody = n
	}
}

func (s *Settings) maxRequestHeaders(value string) {
	if n, ok := s.size(value, minHeaders, maxHeaders); ok {
		s.requestLimits().MaxHeaders = int(n)
	}
}

var sizePattern = regexp.MustCompile(`^(?i)([0-9]{1,15}) ?(b|kb|mb|gb)?$`)

// size reads a number of bytes; ok is false if there is none.
func (s *Settings) size(value string, from, to int64) (n int64, ok bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if parts := sizePattern.FindStringSubmatch(value); parts != nil {
		n, _ = strconv.ParseInt(parts[1], 10, 64)
		unit := int64(1) << map[string]int{"kb": 10, "mb": 20, "gb": 30}[strings.ToLower(parts[2])]
		if n <= math.MaxInt64/unit {
			n *= unit
			ok = n >= from && n <= to
		}
	}
	if !ok {
		s.failing("%.40q is not understood, so there is no limit of its own: write a size from %s to %s, such as %s", value, sizeWords(from), sizeWords(to), cmp.Or(s.label.example, "10MB"))
	}
	return n, ok
}

func sizeWords(n int64) string {
	for _, unit := range []struct {
		shift int
		name  string
	}{{30, "GB"}, {20, "MB"}, {10, "kB"}} {
		if n >= 1<<unit.shift {
			return fmt.Sprintf("%d%s", n>>unit.shift, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// finishRequestLimits notes that bodies are streams where the app speaks gRPC.
func (s *Settings) finishRequestLimits() {
	if l := s.http.RequestLimits; l != nil {
		l.Streams = l.MaxBody > 0 && s.upstream.HTTP2
	}
}
