package envoy

import (
	"time"

	ondemandv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/on_demand/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// onDemandTimeout is how long a request waits for its cluster while Relay is
// away. With Relay there it takes a millisecond or two.
const onDemandTimeout = 5 * time.Second

// onDemandClusters holds the first request for a cluster until Envoy has it. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/on_demand_updates_filter
func onDemandClusters(p *packer) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: "on_demand",
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: p.pack(&ondemandv3.OnDemand{
			Odcds: &ondemandv3.OnDemandCds{Source: adsSource(0), Timeout: durationpb.New(onDemandTimeout)},
		})},
	}
}
