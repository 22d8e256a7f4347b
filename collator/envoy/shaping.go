package envoy

import (
	"cmp"
	"math"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	brotliv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/brotli/compressor/v3"
	gzipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	zstdv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/zstd/compressor/v3"
	faultcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	statefulsessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	headerstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/sources"
)

// noContent is the status of an answer that has only headers.
const noContent = 204

// shaping returns what a rule says of its requests and answers, which may be nothing.
func shaping(r routing.Rule) sources.Shaping {
	if r.HTTP.Shaping == nil {
		return sources.Shaping{}
	}
	return *r.HTTP.Shaping
}

// redirectRoutes send requests elsewhere before the app is asked.
func redirectRoutes(r routing.Rule, m ruleMatch) (routes []*routev3.Route) {
	if m.guard {
		return nil
	}
	for _, redirect := range shaping(r).Redirects {
		if redirect.Scheme == "" || m.scheme == "" || redirect.Scheme == m.scheme {
			routes = append(routes, redirectRoute(redirect, m))
		}
	}
	return routes
}

// withUrgent puts routes for urgent paths, which count their requests apart, before the routes of a rule.
func withUrgent(paths []string, routes []*routev3.Route) []*routev3.Route {
	if len(paths) == 0 {
		return routes
	}
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = regexp.QuoteMeta(path)
	}
	pattern := "(?:" + strings.Join(quoted, "|") + ").*"
	var urgent []*routev3.Route
	for _, route := range routes {
		route = proto.CloneOf(route)
		route.GetRoute().Priority = corev3.RoutingPriority_HIGH
		route.Match.Headers = append(route.Match.Headers, headerFits(":path", pattern))
		urgent = append(urgent, route)
	}
	return append(urgent, routes...)
}

// shapeForward changes the path and the host that the app sees.
func shapeForward(action *routev3.RouteAction, s *sources.Shaping) {
	if s == nil {
		return
	}
	if r := s.PathRewrite; r != nil {
		action.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{Pattern: anyRegex(r.Pattern), Substitution: r.Substitution}
	}
	switch {
	case s.Host != "":
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: s.Host}
		action.AppendXForwardedHost = true
	case s.HostOfInstance:
		// By the names that Endpoints gives them.
		action.HostRewriteSpecifier = &routev3.RouteAction_AutoHostRewrite{AutoHostRewrite: wrapperspb.Bool(true)}
		action.AppendXForwardedHost = true
	}
}

// shapeAnswers changes the headers of answers.
func shapeAnswers(route *routev3.Route, s sources.Shaping) {
	if s.CORS != nil {
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, originHeaders(s.CORS)...)
		route.ResponseHeadersToRemove = append(route.ResponseHeadersToRemove, corsHeaders...)
	}
}

// shapingFilters adds the filters that decide at once.
func shapingFilters(c *filterChains, s sources.Shaping) {
	if s.StickyHeader != "" {
		c.add("stateful_session", &statefulsessionv3.StatefulSession{
			SessionState: c.p.extension("envoy.http.stateful_session.header", &headerstatev3.HeaderBasedSessionState{Name: s.StickyHeader}),
		})
	}
	if s.Compress != nil {
		addCompressors(c, *s.Compress)
	}
}

// shapingFeatures are those that older Envoys lack. All of them are conveniences.
var shapingFeatures = []feature{
	{"STICKY by header", ChainsSince, false, func(h *sources.HTTP) bool { return h.Shaping != nil && h.Shaping.StickyHeader != "" }, reshaped(func(s *sources.Shaping) { s.StickyHeader = "" })},
	{"faults", ChainsSince, false, func(h *sources.HTTP) bool { return h.Shaping != nil && h.Shaping.Fault != nil }, reshaped(func(s *sources.Shaping) { s.Fault = nil })},
	{"compressed answers", expressionsSince, false, func(h *sources.HTTP) bool { return h.Shaping != nil && h.Shaping.Compress != nil }, reshaped(func(s *sources.Shaping) { s.Compress = nil })},
}

// reshaped changes a copy of Shaping.
func reshaped(change func(*sources.Shaping)) func(*sources.HTTP) {
	return func(h *sources.HTTP) {
		if h.Shaping != nil {
			own := *h.Shaping
			change(&own)
			h.Shaping = &own
		}
	}
}

// What is compressed. Events (text/event-stream) are left out: some clients show none until there is enough for a block.
const minCompressed = 1024

var compressedTypes = []string{
	"application/javascript", "application/json", "application/ld+json", "application/manifest+json", "application/wasm", "application/xhtml+xml", "application/xml",
	"font/otf", "font/ttf", "image/svg+xml", "text/css", "text/csv", "text/html", "text/javascript", "text/markdown", "text/plain", "text/xml",
}

// partialContent is the status of a part of an answer: compressed, it would be no part of the whole.
const partialContent = 206

var allEncodings = []sources.Encoding{sources.Zstd, sources.Brotli, sources.Gzip}

// compressors are moderate in what they hold for each answer.
var compressors = map[sources.Encoding]func() proto.Message{
	sources.Gzip: func() proto.Message {
		return &gzipv3.Gzip{CompressionLevel: gzipv3.Gzip_COMPRESSION_LEVEL_5, MemoryLevel: wrapperspb.UInt32(8), WindowBits: wrapperspb.UInt32(15)}
	},
	sources.Brotli: func() proto.Message {
		return &brotliv3.Brotli{Quality: wrapperspb.UInt32(4), WindowBits: wrapperspb.UInt32(18), InputBlockBits: wrapperspb.UInt32(18)}
	},
	// At level 3 it would hold three times as much.
	sources.Zstd: func() proto.Message { return &zstdv3.Zstd{CompressionLevel: wrapperspb.UInt32(1)} },
}

// addCompressors adds a filter for each encoding. Together they find out what the client likes best. Of what it likes alike, the first of these
// compresses.
func addCompressors(c *filterChains, s sources.Compress) {
	encodings, types := s.Encodings, s.ContentTypes
	if len(encodings) == 0 {
		encodings = allEncodings
	}
	if len(types) == 0 {
		types = compressedTypes
	}
	for i, encoding := range encodings {
		library := compressors[encoding]
		if library == nil {
			continue
		}
		c.add("compress_"+string(encoding), &compressorv3.Compressor{
			CompressorLibrary: c.p.extension(string(encoding), library()),
			// Set on several, the last in the header of the client would win.
			ChooseFirst: i == 0,
			ResponseDirectionConfig: &compressorv3.Compressor_ResponseDirectionConfig{
				CommonConfig: &compressorv3.Compressor_CommonDirectionConfig{
					MinContentLength: wrapperspb.UInt32(cmp.Or(s.MinBytes, minCompressed)),
					//lint:ignore SA1019 what takes its place has no list of whole types, and is newer
					ContentType: types,
				},
				WeakenEtagOnCompress:        true,
				UncompressibleResponseCodes: []uint32{partialContent},
			},
		})
	}
}

// mostFaults is how many requests an Envoy holds up at a time for one route: more go on at once.
const mostFaults = 1000

// addFault has some requests wait, or fail, if the fleet allows that.
func (b scopeBuilder) addFault(c *filterChains, f *sources.Fault) {
	if f == nil || !b.Faults {
		return
	}
	// The names of clusters would make statistics of their own.
	filter := &faultv3.HTTPFault{MaxActiveFaults: wrapperspb.UInt32(mostFaults), DisableDownstreamClusterStats: true}
	if f.Delay > 0 {
		filter.Delay = &faultcommonv3.FaultDelay{
			FaultDelaySecifier: &faultcommonv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(f.Delay)}, Percentage: millionths(f.DelayPercent),
		}
	}
	if f.Abort > 0 {
		filter.Abort = &faultv3.FaultAbort{ErrorType: &faultv3.FaultAbort_HttpStatus{HttpStatus: uint32(f.Abort)}, Percentage: millionths(f.AbortPercent)}
	}
	c.addWaiting("fault", filter)
}

// millionths writes a percentage as Envoy reads it.
func millionths(percent float64) *typev3.FractionalPercent {
	return &typev3.FractionalPercent{Numerator: uint32(math.Round(percent * 1e4)), Denominator: typev3.FractionalPercent_MILLION}
}
