package envoy

import (
	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"
)

// byHTTP2 is a key of 16 bytes in base64 if the request came by HTTP/2, and nothing otherwise.
// Apps check its form, and answer with a hash of it, which clients by HTTP/2 do not look at
// (https://www.rfc-editor.org/rfc/rfc8441#section-5). So it need not be random.
const byHTTP2 = `%CEL(request.protocol == 'HTTP/2' ? 'cmVsYXktd2Vic29ja2V0Lg==' : '')%`

// webSocketKey gives requests for a WebSocket that came by HTTP/2 the key which apps by HTTP/1 ask
// for. Clients send none, and Envoy makes none of an extended CONNECT. All else of the
// request is as by HTTP/1 when filters and routes see it: so Envoy's codec has it.
func webSocketKey(p *packer) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "websocket_key",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: p.pack(&matchingv3.ExtensionWithMatcher{
			XdsMatcher: unlessHeader(p, "upgrade", "upgrade", webSocket),
			ExtensionConfig: p.extension("set", &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
				RequestMutations: []*mutationrulesv3.HeaderMutation{{Action: &mutationrulesv3.HeaderMutation_Append{
					Append: headerOption("sec-websocket-key", byHTTP2, corev3.HeaderValueOption_ADD_IF_ABSENT),
				}}},
				Formatters: []*corev3.TypedExtensionConfig{p.extension("envoy.formatter.cel", &celv3.Cel{})},
			}}),
		})},
	}
}
