package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// What Envoy does when connections to an instance fail. docs/edge.md says why, and
// routing.EjectionRule says it to users.
const (
	ejectionSweep = 10 * time.Second

	// Sent data that the other machine does not confirm for this long ends the
	// connection. An instance that reads nothing for so long loses it, too, and the upload
	// with it: a busy one may leave uploads in its kernel for a while. TCP services have
	// longer, as their clients may stream for hours.
	unconfirmed    = 20 * time.Second
	unconfirmedTCP = 60 * time.Second
)

// outlierDetection has Envoy eject an instance for a while if connections to it fail one
// after the other. Statuses of answers count only if the app asks for that. See
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
func outlierDetection(c routing.Connections) *clusterv3.OutlierDetection {
	never := func() *wrapperspb.UInt32Value { return wrapperspb.UInt32(0) }
	detection := &clusterv3.OutlierDetection{
		SplitExternalLocalOriginErrors:  true,
		ConsecutiveLocalOriginFailure:   wrapperspb.UInt32(routing.EjectedAfter(c.TCP)),
		Interval:                        durationpb.New(ejectionSweep),
		BaseEjectionTime:                durationpb.New(routing.ShortestEjection),
		MaxEjectionTime:                 durationpb.New(routing.LongestEjection),
		MaxEjectionPercent:              wrapperspb.UInt32(routing.MostEjected),
		Consecutive_5Xx:                 never(),
		ConsecutiveGatewayFailure:       never(),
		EnforcingSuccessRate:            never(),
		EnforcingLocalOriginSuccessRate: never(),
	}
	if c.EjectAfter > 0 {
		// If all instances answer so, MaxEjectionPercent leaves some in. Should these end, the panic threshold of the
		// cluster lets requests go to those left out.
		detection.Consecutive_5Xx = wrapperspb.UInt32(c.EjectAfter)
		detection.EnforcingConsecutive_5Xx = wrapperspb.UInt32(100)
		if c.EjectFor > 0 {
			detection.BaseEjectionTime = durationpb.New(c.EjectFor)
			detection.MaxEjectionTime = durationpb.New(max(routing.LongestEjection, c.EjectFor))
		}
	}
	return detection
}

// keepalive finds out that the machine of an instance is gone while nothing is sent. An
// instance that only says nothing is not concerned: its kernel answers.
func keepalive() *clusterv3.UpstreamConnectionOptions {
	return &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
		KeepaliveTime:     wrapperspb.UInt32(15),
		KeepaliveInterval: wrapperspb.UInt32(5),
		KeepaliveProbes:   wrapperspb.UInt32(3),
	}}
}

// userTimeout finds out that the machine of an instance is gone while something is sent. The
// kernel would try for 15 minutes.
func userTimeout(c routing.Connections) *corev3.BindConfig {
	const ipProtoTCP, tcpUserTimeout = 6, 18 // of Linux
	after := unconfirmed
	if c.TCP {
		after = unconfirmedTCP
	}
	// Without a source address Envoy binds nothing.
	return &corev3.BindConfig{SocketOptions: []*corev3.SocketOption{{
		Description: "TCP_USER_TIMEOUT",
		Level:       ipProtoTCP, Name: tcpUserTimeout,
		Value: &corev3.SocketOption_IntValue{IntValue: after.Milliseconds()},
		State: corev3.SocketOption_STATE_PREBIND,
	}}}
}

// upstreamHTTP2 bounds what an instance can make Envoy hold for clients that read slowly. All
// windows of streams fit into that of the connection. So those clients stop no others.
func upstreamHTTP2() *corev3.Http2ProtocolOptions {
	const window = 256 << 10
	return &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams:        wrapperspb.UInt32(maxConcurrentStreams),
		InitialStreamWindowSize:     wrapperspb.UInt32(window),
		InitialConnectionWindowSize: wrapperspb.UInt32(window * (maxConcurrentStreams + 1)),
	}
}
