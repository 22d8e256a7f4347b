package collator

import (
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

const (
	// hostsFilter is the name of the filter, and of the extension configuration
	// that brings it.
	hostsFilter = "hosts"
	// scopeHeader carries the key of the scope within Envoy: the request's host
	// as sent, or what the hosts filter made of it.
	scopeHeader = "x-relay-scope"

	// oddHost matches hosts that are not compared byte by byte: with upper case,
	// or a trailing dot before an optional port.
	oddHost = `.*[A-Z].*|.*\.(:[0-9]*)?`
)

// normaliseHost is run for hosts that are not themselves the key of a scope.
// The longest zone wins: parents are looked up from the longest to the
// shortest. A longer host than a DNS name (and port) can be is left alone, so
// that a request of many dots costs nothing.
const normaliseHost = `
function envoy_on_request(handle)
  local headers = handle:headers()
  local host = headers:get(":authority")
  if host == nil or #host > 260 then
    return
  end
  host = host:lower():gsub(":%d*$", ""):gsub("%.$", "")
  local scope = host
  local dot = host:find(".", 1, true)
  while dot do
    local parent = host:sub(dot + 1)
    if zones[parent] then
      scope = "*." .. parent
      break
    end
    dot = host:find(".", dot + 1, true)
  end
  headers:replace("` + scopeHeader + `", scope)
  handle:clearRouteCache()
end
`

// buildHosts makes the filter that maps the host of a request to the key of
// its scope, for the zones given (wildcard domains without the "*."), sorted. It is
// delivered on its own, so that a new zone leaves the listeners alone. Most
// requests do not reach the script.
func buildHosts(zones []string) (*corev3.TypedExtensionConfig, error) {
	var p packer
	config := p.extension(hostsFilter, hostsMatcher(&p, zones))
	return config, p.err
}

func hostsMatcher(p *packer, zones []string) *matchingv3.ExtensionWithMatcher {
	run := p.pack(&compositev3.ExecuteFilterAction{
		TypedConfig: p.extension("normalise", &luav3.Lua{
			DefaultSourceCode: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: zoneTable(zones) + normaliseHost},
			},
		}),
	})
	authority := p.pack(&typematcherv3.HttpRequestHeaderMatchInput{HeaderName: ":authority"})
	return &matchingv3.ExtensionWithMatcher{
		XdsMatcher: &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{
			MatcherList: &xdsmatcherv3.Matcher_MatcherList{Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: predicate(
					&xdscorev3.TypedExtensionConfig{Name: "authority", TypedConfig: authority}, regex(hostsPattern(zones))),
				OnMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
					Action: &xdscorev3.TypedExtensionConfig{Name: "normalise", TypedConfig: run},
				}},
			}}},
		}},
		ExtensionConfig: p.extension("composite", &compositev3.Composite{}),
	}
}

func predicate(input *xdscorev3.TypedExtensionConfig, value *xdsmatcherv3.StringMatcher) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{
		MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
			SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
				Input:   input,
				Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{ValueMatch: value},
			},
		},
	}
}

// regex matches a whole value.
func regex(pattern string) *xdsmatcherv3.StringMatcher {
	return &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_SafeRegex{SafeRegex: &xdsmatcherv3.RegexMatcher{
		EngineType: &xdsmatcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &xdsmatcherv3.RegexMatcher_GoogleRE2{}},
		Regex:      pattern,
	}}}
}

// hostsPattern matches, as a whole, the hosts for which the script must run.
// Zones need no other escaping than that of the dot: normalised domains hold
// letters, digits, hyphens and dots only.
func hostsPattern(zones []string) string {
	if len(zones) == 0 {
		return oddHost
	}
	escaped := make([]string, len(zones))
	for i, zone := range zones {
		escaped[i] = strings.ReplaceAll(zone, ".", `\.`)
	}
	return oddHost + `|.*\.(` + strings.Join(escaped, "|") + `)(:[0-9]*)?`
}

// zoneTable writes the zones as a Lua table.
func zoneTable(zones []string) string {
	var b strings.Builder
	b.WriteString("local zones = {")
	for _, zone := range zones {
		b.WriteString("\n  [\"" + zone + "\"] = true,")
	}
	b.WriteString("\n}\n")
	return b.String()
}
