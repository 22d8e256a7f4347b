package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	grpcaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// relayCluster is the cluster by which Envoy reaches Relay: "relay bootstrap" calls it so.
const relayCluster = "relay-xds"

// failedConnections is an access log by which Envoy tells Relay of each connection to an
// instance that failed. Envoy keeps one for each worker, and writes nothing while all is
// well. It is the log for TCP, also where requests are served, as that has no URLs. An Envoy
// whose bootstrap has another name for Relay's cluster drops what it would send.
func failedConnections(p *packer) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{{
		Name:   "failed_connections",
		Filter: hasFlags("UF"),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: p.pack(&grpcaccesslogv3.TcpGrpcAccessLogConfig{
			CommonConfig: &grpcaccesslogv3.CommonGrpcAccessLogConfig{
				LogName: "failed_connections", TransportApiVersion: corev3.ApiVersion_V3, BufferFlushInterval: durationpb.New(time.Second),
				GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: relayCluster},
				}},
			},
		})},
	}}
}
