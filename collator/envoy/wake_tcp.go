package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/cel/v3"

	"relay/collator/routing"
	"relay/internal/ratelimit"
)

// nodeState is the filter state in which a connection has the id of the Envoy's node.
const nodeState = "relay.node"

// keepNode keeps the id of the Envoy's node, which can be said here and not in descriptors.
func keepNode(p *packer) *listenerv3.Filter {
	return &listenerv3.Filter{Name: "node", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(&setfilterstatev3.Config{
		OnNewConnection: []*filterstatev3.FilterStateValue{{
			Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: nodeState},
			FactoryKey: "envoy.string",
			Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
				Format:     &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline("%CEL(xds.node.id)%")},
				Formatters: []*corev3.TypedExtensionConfig{p.extension("envoy.formatter.cel", &celv3.Cel{})},
			}},
		}},
	})}}
}

// WakeFilter makes the filter by which connections to a service wait until its app is awake, while
// it sleeps; and one that does nothing while it does not.
//
// Relay answers that there is no limit when there is an instance. Without an answer the connection goes on: an
// app that was about to fall asleep runs still.
func WakeFilter(f *routing.Fleet, cluster string, waits bool) (*corev3.TypedExtensionConfig, error) {
	var p packer
	name := routing.WakeFilter(cluster)
	if !waits {
		return asksNothing(&p, name), p.err
	}
	config := connectionQuestion{domain: ratelimit.WakeDomain, stats: "wake", relay: relayService(&p, f), node: true}.filter(&p, name, cluster)
	return config, p.err
}
