package envoy

import (
	"regexp"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

const (
	// Limits that https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
	// advises.
	maxConcurrentStreams = 100
	streamWindow         = 64 << 10
	connectionWindow     = 1 << 20

	// maxHeaders is how many lines the head of a request or answer may have. With Envoy's
	// default of 100 some pages are not reached: by HTTP/2 a browser sends a line for each
	// cookie. Envoy's limit for the size of a head, 60 kB, stays.
	maxHeaders = 1000

	// noHost is the host of requests by HTTP/1.0 that name none. No domain is called so.
	noHost = "."

	// webSocket is the only protocol that clients may change to.
	webSocket = "websocket"
)

// setDownstreamProtocols sets what a connection manager takes from clients, by which version
// of HTTP. The section "Requests and answers" of docs/edge.md has the reasons.
func setDownstreamProtocols(manager *hcmv3.HttpConnectionManager, f *routing.Fleet) {
	o := f.Options
	manager.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{
		IdleTimeout:     durationpb.New(o.ClientIdleTimeout),
		MaxHeadersCount: wrapperspb.UInt32(maxHeaders),
	}
	// A request with both Content-Length and chunks stays refused: if a proxy before Envoy
	// went by the other one, the rest of the request would be the next request.
	manager.HttpProtocolOptions = &corev3.Http1ProtocolOptions{
		AcceptHttp_10:         true,
		DefaultHostForHttp_10: noHost,
		EnableTrailers:        true,
		AllowCustomMethods:    true,
		IgnoreHttp_11Upgrade:  anythingBut(webSocket),
	}
	manager.Http2ProtocolOptions = &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams:        wrapperspb.UInt32(maxConcurrentStreams),
		InitialStreamWindowSize:     wrapperspb.UInt32(streamWindow),
		InitialConnectionWindowSize: wrapperspb.UInt32(connectionWindow),
		// Without it browsers open a connection by HTTP/1 for each WebSocket.
		AllowConnect: f.ExtendedConnect,
	}
	manager.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: webSocket}}
	// The app decides whether it wants the body, and says what is to be loaded early.
	manager.Proxy_100Continue = true
}

// anythingBut matches any text but a word in lower case, in whatever case it is. Envoy's
// regular expressions have no way to say "not". Each matches what first differs from the word
// after some letters. Together they would be too large for Envoy 1.36.
func anythingBut(word string) []*matcherv3.StringMatcher {
	var patterns []string
	for i := range len(word) {
		patterns = append(patterns, regexp.QuoteMeta(word[:i])+"([^"+word[i:i+1]+"].*)?")
	}
	patterns = append(patterns, regexp.QuoteMeta(word)+".+")
	matchers := make([]*matcherv3.StringMatcher, len(patterns))
	for i, pattern := range patterns {
		matchers[i] = &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: "(?i)" + pattern},
		}}
	}
	return matchers
}

// http1ToApps is how HTTP/1 is spoken with apps. Some send both Content-Length and chunks,
// which HAProxy takes: the chunks count, and Content-Length is removed.
func http1ToApps() *corev3.Http1ProtocolOptions {
	return &corev3.Http1ProtocolOptions{AllowChunkedLength: true, EnableTrailers: true}
}
