package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	grpcaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/internal/failure"
)

// relayCluster is the cluster by which Envoy reaches Relay: "relay bootstrap" calls it so. An
// Envoy whose bootstrap has another name for it drops what it would send.
const relayCluster = "relay-xds"

// The logs by which Envoys report to Relay: package traffic knows them by these names. Envoy
// keeps a stream for each of them and each worker, which it opens when there is something to
// send.
const (
	// FailuresLog is of requests and connections that failed.
	FailuresLog = "failures"
	// ConnectionsLog is of attempts to connect to an instance that failed, also where another
	// instance answered then.
	ConnectionsLog = "failed_connections"
)

// logToRelay is what all logs have in common. Envoy keeps up to 16 kB for a second before it
// sends them.
func logToRelay(name string) *grpcaccesslogv3.CommonGrpcAccessLogConfig {
	return &grpcaccesslogv3.CommonGrpcAccessLogConfig{
		LogName: name, TransportApiVersion: corev3.ApiVersion_V3, BufferFlushInterval: durationpb.New(time.Second),
		GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: relayCluster},
		}},
	}
}

// requestLogs are the access logs of requests.
func requestLogs(p *packer) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{failedRequests(p), tailLog(p)}
}

// failedRequests is an access log by which Envoy tells Relay of each answer that it made
// itself, and of each answer that ended in the middle. Other requests are compared with a
// status and a few flags, which costs them next to nothing. The header with the code says
// that an answer is Envoy's own: those of apps are without it (see Scope).
func failedRequests(p *packer) *accesslogv3.AccessLog {
	cutOff := hasFlags(failure.CutOffFlags()...)
	ownAnswer := allOf(
		// By gRPC the status is always 200.
		anyOf(hasStatus(accesslogv3.ComparisonFilter_GE, 400), asksByGRPC()),
		expression(p, "'"+failure.Header+"' in response.headers"),
	)
	return &accesslogv3.AccessLog{
		Name:   FailuresLog,
		Filter: anyOf(cutOff, ownAnswer),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: p.pack(&grpcaccesslogv3.HttpGrpcAccessLogConfig{
			CommonConfig:                   logToRelay(FailuresLog),
			AdditionalResponseHeadersToLog: []string{failure.Header},
		})},
	}
}

// failedTCP is an access log by which Envoy tells Relay of connections to a TCP service that
// failed.
func failedTCP() []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{{
		Name: FailuresLog, Filter: hasFlags(failure.ConnectionFlags()...),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: tcpFailures()},
	}}
}

// failedConnections is an access log of each attempt to connect to an instance that failed.
// It is the log for TCP, also where requests are served, as that has no URLs.
func failedConnections() []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{{
		Name: ConnectionsLog, Filter: hasFlags("UF"),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: attempts()},
	}}
}

// There may be many TCP services, whose logs are all the same.
var (
	tcpFailures = packOnce(tcpLog(FailuresLog, clusterState))
	attempts    = packOnce(tcpLog(ConnectionsLog))
)

func tcpLog(name string, state ...string) *grpcaccesslogv3.TcpGrpcAccessLogConfig {
	common := logToRelay(name)
	common.FilterStateObjectsToLog = state
	return &grpcaccesslogv3.TcpGrpcAccessLogConfig{CommonConfig: common}
}

// clusterState is what Envoy keeps of a TCP connection for its log: the cluster to which it is to
// go. Of a connection for which there is no instance, the log has nothing else of the service.
const clusterState = "relay.cluster"

// keepCluster keeps the name of the cluster of a TCP service. A log that named it would be a
// stream of its own.
func keepCluster(p *packer, cluster string) *listenerv3.Filter {
	return &listenerv3.Filter{Name: "cluster", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: p.pack(&setfilterstatev3.Config{
		OnNewConnection: []*filterstatev3.FilterStateValue{{
			Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: clusterState},
			FactoryKey: "envoy.string",
			Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline(plainText(cluster))},
			}},
		}},
	})}}
}
