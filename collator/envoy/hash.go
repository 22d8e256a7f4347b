package envoy

import (
	"slices"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/sources"
)

// maglevSize is the size of the table by which ids are spread, a prime. It is the same for each
// cluster, as all ids move when it changes. With it a cluster of 10 instances takes 14 kB, and one of
// 100 takes 29 kB; a ring took 27 kB. Of up to 100 instances, one that comes or goes moves less than
// 1 % of the ids besides its own. No cluster has more instances than entries (sources.MaxEndpoints).
const maglevSize = 32749

// maglevTable says how large the table of a cluster is.
func maglevTable() *clusterv3.Cluster_MaglevLbConfig_ {
	return &clusterv3.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterv3.Cluster_MaglevLbConfig{TableSize: wrapperspb.UInt64(maglevSize)}}
}

// hashKey has an endpoint take the ids of its slot, whatever its address. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto#config-cluster-v3-cluster-commonlbconfig-consistenthashinglbconfig
func hashKey(slot int) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"hash_key": structpb.NewStringValue("slot-" + strconv.Itoa(slot))}}
}

const (
	// subdomainState is what Envoy keeps of a request: the first label of its host, in lower case.
	subdomainState = "relay.subdomain"
	// firstLabel has the label end before a port, too.
	firstLabel = `%CEL(request.headers[':authority'].lowerAscii().split(':')[0].split('.')[0])%`

	// hashSubdomainAsSent is sources.HashSubdomain where upper case counts.
	hashSubdomainAsSent sources.HashBy = 100
)

// foldsHosts reports whether upper case in hosts is no matter for the hashes of a domain. That takes a filter
// whose expression Envoys before 1.40 do not know, and a scope has one variant for older Envoys. So it is not
// done where other filters need one already: older Envoys would have to do without those, too.
func foldsHosts(rules []routing.Rule) bool {
	folds := false
	for _, r := range rules {
		if NeedsFilters(&r.HTTP) || slices.ContainsFunc(r.Targets, func(t routing.Target) bool { return t.Gated || t.Queued || t.Separates }) {
			return false
		}
		folds = folds || r.HTTP.Hash != nil && r.HTTP.Hash.By == sources.HashSubdomain
	}
	return folds
}

// hashedAsSent returns rules for which upper case in hosts counts.
func hashedAsSent(rules []routing.Rule) []routing.Rule {
	rules = slices.Clone(rules)
	for i := range rules {
		if h := rules[i].HTTP.Hash; h != nil && h.By == sources.HashSubdomain {
			rules[i].HTTP.Hash = &sources.Hash{By: hashSubdomainAsSent}
		}
	}
	return rules
}

// keepSubdomain keeps the label by which a request is hashed. Policies for hashes can cut a header, and
// not ignore its case, as hosts ask for.
func keepSubdomain(p *packer) *setfilterstatev3.Config {
	return &setfilterstatev3.Config{OnRequestHeaders: []*filterstatev3.FilterStateValue{{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: subdomainState},
		FactoryKey: "envoy.hashable_string",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline(firstLabel)},
			Formatters: []*corev3.TypedExtensionConfig{p.extension("envoy.formatter.cel", &celv3.Cel{
				CelConfig: &corev3.CelExpressionConfig{EnableStringFunctions: true},
			})},
		}},
	}}}
}

// hashPolicy says what the instance of a request is picked by. A request that does not have it is sent
// to any.
func hashPolicy(h *sources.Hash) []*routev3.RouteAction_HashPolicy {
	if h == nil {
		return nil
	}
	if h.By == sources.HashSubdomain {
		return []*routev3.RouteAction_HashPolicy{
			{Terminal: true, PolicySpecifier: &routev3.RouteAction_HashPolicy_FilterState_{
				FilterState: &routev3.RouteAction_HashPolicy_FilterState{Key: subdomainState},
			}},
			hashSpecifier(&sources.Hash{By: hashSubdomainAsSent}),
		}
	}
	return []*routev3.RouteAction_HashPolicy{hashSpecifier(h)}
}

func hashSpecifier(h *sources.Hash) *routev3.RouteAction_HashPolicy {
	var policy routev3.RouteAction_HashPolicy
	header := func(name string, rewrite *matcherv3.RegexMatchAndSubstitute) {
		policy.PolicySpecifier = &routev3.RouteAction_HashPolicy_Header_{
			Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: name, RegexRewrite: rewrite}}
	}
	switch h.By {
	case sources.HashHeader:
		header(h.Name, nil)
	case sources.HashURI:
		header(":path", nil)
	case sources.HashPath:
		header(":path", &matcherv3.RegexMatchAndSubstitute{Pattern: regexMatcher(`\?.*`, false)})
	case sources.HashPathSegment:
		header(":path", segment(h.Segment))
	case hashSubdomainAsSent:
		header(":authority", &matcherv3.RegexMatchAndSubstitute{Pattern: regexMatcher(`^([^.:]*).*$`, false), Substitution: `\1`})
	case sources.HashCookie:
		policy.PolicySpecifier = &routev3.RouteAction_HashPolicy_Cookie_{Cookie: &routev3.RouteAction_HashPolicy_Cookie{Name: h.Name}}
	case sources.HashQueryParameter:
		policy.PolicySpecifier = &routev3.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: h.Name}}
	case sources.HashSourceIP:
		policy.PolicySpecifier = &routev3.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true}}
	}
	return &policy
}

// segment cuts one segment out of a path. Several slashes count as one. A path without the segment
// stays whole, so that requests for no id are spread.
func segment(n int) *matcherv3.RegexMatchAndSubstitute {
	const before = 5 // so many segments before it may be without telling Envoy that the expression is large
	pattern := `^/+(?:[^/?#]+/+){` + strconv.Itoa(n-1) + `}([^/?#]+).*$`
	return &matcherv3.RegexMatchAndSubstitute{Pattern: regexMatcher(pattern, n > before), Substitution: `\1`}
}
