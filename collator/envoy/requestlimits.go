package envoy

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	bufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/buffer/v3"
	localratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/internal/failure"
	"relay/sources"
)

const (
	// LimitedClients is how many clients an Envoy keeps count of, for each route that limits what each
	// may ask for, unless the app has very many such routes. Of more, it forgets who was not there for longest.
	LimitedClients = 2000

	// LongestClientName is how long, in bytes, the value of a header may be that names a client.
	LongestClientName = 256

	// limitStats begins the names of the counters of all limits, which are the same for all apps.
	limitStats = "rate_limits"

	retryAfter    = "retry-after"
	contentLength = "content-length"
	// headersMetadata is where the metadata of a route says how large the head of a request may be.
	headersMetadata = "max_headers"
)

// limitFilters are the filters that keep out what is over the limits of a port and decide at once.
// Who sends too much must not cost more: so they come before passwords are checked.
func limitFilters(c *filterChains, l *sources.RequestLimits) {
	if l == nil {
		return
	}
	if l.MaxHeaders > 0 {
		c.add("max_headers", limitHeaders())
	}
	if l.Rate != nil || l.PerClient != nil {
		c.add("rate_limit", limitRate(l))
	}
}

// heldAnyway is twice what an Envoy may get of a body while somebody is asked about its request, and more: bufferLimit, and as
// much that comes at once. What it has when it begins to count is not refused, and it reads on only if that is less than half of
// the limit.
const heldAnyway = 8 * bufferLimit

// limitSmallBodies bounds bodies before anybody is asked about a request: a whole body that is too large could come meanwhile.
func limitSmallBodies(c *filterChains, l *sources.RequestLimits) {
	if l != nil && l.HeldBody() <= heldAnyway {
		holdBodies(c, l)
	}
}

// limitLargeBodies bounds the others, of which nothing more is held until it is known who may come in.
func limitLargeBodies(c *filterChains, l *sources.RequestLimits) {
	if l != nil && l.HeldBody() > heldAnyway {
		holdBodies(c, l)
	}
}

func holdBodies(c *filterChains, l *sources.RequestLimits) {
	if l.MaxBody == 0 || l.SaidOnly {
		return
	}
	c.addWaitingIf(ofUnknownLength(c.p, l.Streams), "max_body", &bufferv3.Buffer{MaxRequestBytes: wrapperspb.UInt32(uint32(l.HeldBody()))})
	// What comes with the end of a body is not counted. The filter says how long the body is.
	c.refuse = &refusal{headerMatches(c.p, contentLength, regex(numberAbove(l.HeldBody()))), c.p.extension("too_large", &luav3.Lua{
		DefaultSourceCode: inline(tooLargeScript), ClearRouteCache: wrapperspb.Bool(false), SharedVmId: "too_large",
	})}
}

// tooLargeScript answers 413.
const tooLargeScript = `
function envoy_on_request(handle)
  handle:respond({[":status"] = "413"}, "")
end
`

// TooLargeSize is how many bytes it takes in a route, with the expression for lengths that are too large.
const TooLargeSize = len(tooLargeScript) + 200

// numberAbove is an expression for the numbers above n, written without leading zeros.
func numberAbove(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var same string // for those of as many digits
	for i := len(digits) - 1; i >= 0; i-- {
		var forms []string
		if same != "" {
			forms = append(forms, fmt.Sprintf("%c(?:%s)", digits[i], same))
		}
		if digits[i] < '9' {
			forms = append(forms, fmt.Sprintf("[%c-9][0-9]{%d}", digits[i]+1, len(digits)-i-1))
		}
		same = strings.Join(forms, "|")
	}
	longer := fmt.Sprintf("[1-9][0-9]{%d,}", len(digits))
	if same == "" {
		return longer
	}
	return longer + "|" + same
}

// limitRate counts requests, for all workers of an Envoy together. A client that is over its own limit
// takes nothing from what all may ask for. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter
func limitRate(l *sources.RequestLimits) *localratelimitv3.LocalRateLimit {
	always := &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	limit := &localratelimitv3.LocalRateLimit{
		StatPrefix:    limitStats,
		FilterEnabled: always, FilterEnforced: always,
		RateLimitedAsResourceExhausted: true,
		// The default bucket is there in any case.
		TokenBucket: bucketOf(sources.Rate{Requests: math.MaxUint32, Burst: math.MaxUint32, Per: time.Second}),
	}
	var pause time.Duration
	if l.Rate != nil {
		limit.TokenBucket, pause = bucketOf(*l.Rate), l.Rate.Pause()
	}
	if l.PerClient != nil {
		limitClients(limit, *l.PerClient)
		pause = max(pause, l.PerClient.Pause())
	}
	seconds := max(1, int((pause+time.Second-1)/time.Second))
	limit.ResponseHeadersToAdd = []*corev3.HeaderValueOption{
		headerOption(retryAfter, strconv.Itoa(seconds), corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
	}
	return limit
}

func bucketOf(r sources.Rate) *typev3.TokenBucket {
	return &typev3.TokenBucket{MaxTokens: r.Burst, TokensPerFill: wrapperspb.UInt32(r.Requests), FillInterval: durationpb.New(r.Per)}
}

// limitClients adds a bucket for each client: for each value of the header, or for the address of
// clients that send none. The key of a descriptor without a value stands for any.
func limitClients(limit *localratelimitv3.LocalRateLimit, r sources.ClientRate) {
	const address, header, matched = "masked_remote_address", "header", "header_match"
	limit.MaxDynamicDescriptors = wrapperspb.UInt32(cmp.Or(r.Clients, LimitedClients))
	add := func(actions []*routev3.RateLimit_Action, entries ...*ratelimitv3.RateLimitDescriptor_Entry) {
		limit.RateLimits = append(limit.RateLimits, &routev3.RateLimit{Actions: actions})
		limit.Descriptors = append(limit.Descriptors, &ratelimitv3.LocalRateLimitDescriptor{Entries: entries, TokenBucket: bucketOf(r.Rate)})
	}
	byAddress := &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_MaskedRemoteAddress_{
		// A client by IPv6 has a network of addresses for itself.
		MaskedRemoteAddress: &routev3.RateLimit_Action_MaskedRemoteAddress{V4PrefixMaskLen: wrapperspb.UInt32(32), V6PrefixMaskLen: wrapperspb.UInt32(64)},
	}}
	ofAddress := &ratelimitv3.RateLimitDescriptor_Entry{Key: address}
	if r.Header == "" {
		add([]*routev3.RateLimit_Action{byAddress}, ofAddress)
		return
	}
	// An Envoy keeps the values. So a long one, which costs its client nothing, is none.
	has := func(value string, expect bool) *routev3.RateLimit_Action {
		return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_HeaderValueMatch_{
			HeaderValueMatch: &routev3.RateLimit_Action_HeaderValueMatch{
				DescriptorValue: value, ExpectMatch: wrapperspb.Bool(expect),
				Headers: []*routev3.HeaderMatcher{headerFits(r.Header, fmt.Sprintf(".{1,%d}", LongestClientName))},
			},
		}}
	}
	add([]*routev3.RateLimit_Action{has("some", true), {ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{
		RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{HeaderName: r.Header, DescriptorKey: header},
	}}}, &ratelimitv3.RateLimitDescriptor_Entry{Key: matched, Value: "some"}, &ratelimitv3.RateLimitDescriptor_Entry{Key: header})
	add([]*routev3.RateLimit_Action{has("none", false), byAddress}, &ratelimitv3.RateLimitDescriptor_Entry{Key: matched, Value: "none"}, ofAddress)
}

// headersScript answers 431 if the head of a request is larger than the metadata of the route says.
const headersScript = `
function envoy_on_request(handle)
  local most = handle:metadata():get("` + headersMetadata + `")
  if most == nil then
    return
  end
  local size = 0
  for name, value in pairs(handle:headers()) do
    size = size + #name + #value
  end
  if size > most then
    handle:respond({[":status"] = "431"}, "")
  end
end
`

// HeadersScriptSize is how many bytes the script takes in a route.
const HeadersScriptSize = len(headersScript)

func limitHeaders() *luav3.Lua {
	return &luav3.Lua{DefaultSourceCode: inline(headersScript), ClearRouteCache: wrapperspb.Bool(false), SharedVmId: "max_headers"}
}

// metadataOf is the metadata of a route at which its filters look; nil if there is none. Envoys before 1.40 have no
// filter_context.
func metadataOf(h sources.HTTP) *corev3.Metadata {
	fields := make(map[string]*structpb.Value)
	if h.LocationPrefix != "" {
		fields["prefix"] = structpb.NewStringValue(h.LocationPrefix)
	}
	if l := h.RequestLimits; l != nil && l.MaxHeaders > 0 {
		fields[headersMetadata] = structpb.NewNumberValue(float64(l.MaxHeaders))
	}
	if len(fields) == 0 {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{routeMetadata: {Fields: fields}}}
}

// refuseLarge answers 413 to requests that match and say that their body is longer than it may be; nil
// if it may have any length.
func (r ruleMatch) refuseLarge(l *sources.RequestLimits) *routev3.Route {
	if l == nil || l.MaxBody == 0 {
		return nil
	}
	m := r.match()
	m.Headers = append(m.Headers, &routev3.HeaderMatcher{Name: contentLength, HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{
		RangeMatch: &typev3.Int64Range{Start: l.MaxBody + 1, End: math.MaxInt64},
	}})
	return &routev3.Route{Match: m, Action: answer(failure.StatusTooLarge)}
}

// ofUnknownLength fits requests whose body may be of any length, as they do not say how long it is. A WebSocket has
// none until the app has agreed; with streams, those of gRPC are not among them.
func ofUnknownLength(p *packer, streams bool) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	webSocket := &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: "websocket"}, IgnoreCase: true}
	known := []*xdsmatcherv3.Matcher_MatcherList_Predicate{
		// What is no number would be too large for no route.
		headerMatches(p, contentLength, regex(`[0-9]{1,18}`)),
		allFit(headerMatches(p, ":method", &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: "GET"}}), headerMatches(p, "upgrade", webSocket)),
	}
	if streams {
		known = append(known, headerMatches(p, "content-type", &xdsmatcherv3.StringMatcher{
			MatchPattern: &xdsmatcherv3.StringMatcher_Prefix{Prefix: "application/grpc"}, IgnoreCase: true,
		}))
	}
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{
		NotMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_OrMatcher{
			OrMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: known},
		}},
	}}
}

func allFit(all ...*xdsmatcherv3.Matcher_MatcherList_Predicate) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_AndMatcher{
		AndMatcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_PredicateList{Predicate: all},
	}}
}

// headerMatches fits requests of which a header has such a value.
func headerMatches(p *packer, header string, value *xdsmatcherv3.StringMatcher) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	input := p.pack(&matcherv3.HttpRequestHeaderMatchInput{HeaderName: header})
	return predicate(&xdscorev3.TypedExtensionConfig{Name: header, TypedConfig: input}, value)
}

// rateLimitServiceSince is the minor version of Envoy 1 from which on a chain may ask a service about limits.
const rateLimitServiceSince = 40

// limitFeatures are those that older Envoys lack.
var limitFeatures = []feature{{
	"limits over all Envoys", rateLimitServiceSince, false, func(h *sources.HTTP) bool { return h.RequestLimits != nil && h.RequestLimits.Everywhere },
	func(h *sources.HTTP) { h.RequestLimits = limitsWithoutFilters(h.RequestLimits) },
}, {
	"limits of requests", ChainsSince, false, func(h *sources.HTTP) bool { return h.RequestLimits != nil },
	func(h *sources.HTTP) { h.RequestLimits = limitsWithoutFilters(h.RequestLimits) },
}}

// limitsWithoutFilters are what is left of limits for Envoys that know no chains of filters.
func limitsWithoutFilters(l *sources.RequestLimits) *sources.RequestLimits {
	if l == nil || l.MaxBody == 0 {
		return nil
	}
	return &sources.RequestLimits{MaxBody: l.MaxBody, SaidOnly: true}
}
