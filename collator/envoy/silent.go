package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

const (
	// Linux's names are IPPROTO_TCP and TCP_DEFER_ACCEPT: see tcp(7).
	protocolTCP = 6
	deferAccept = 9
	// silence is how many seconds the kernel keeps a connection on which the client has said
	// nothing.
	silence = 3600
)

// acceptWhoSpeaks has the kernel hand a connection to Envoy with its first bytes. So a client
// that only connects takes neither a descriptor nor one of the connections that Envoy may have.
// It is for protocols in which the client speaks first, such as HTTP and TLS.
func acceptWhoSpeaks(listener *listenerv3.Listener) {
	listener.SocketOptions = append(listener.SocketOptions, &corev3.SocketOption{
		Description: "TCP_DEFER_ACCEPT",
		Level:       protocolTCP, Name: deferAccept,
		Value: &corev3.SocketOption_IntValue{IntValue: silence},
		State: corev3.SocketOption_STATE_LISTENING,
	})
}

const (
	// Linux's names are SOL_SOCKET, SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT: see
	// socket(7) and tcp(7).
	socketLevel                                       = 1
	keepAlive                                         = 9
	keepAliveIdle, keepAliveInterval, keepAliveProbes = 4, 5, 6
)

// noticeLostClients has the kernel find out that a client is gone that did not say so, such as a device
// that lost its power: seven minutes after it was last heard. The connections of a listener have the
// options of its socket. What is asked of a client is one packet of TCP every five minutes; that also
// keeps what is between open.
func noticeLostClients(listener *listenerv3.Listener) {
	for _, o := range []struct {
		name          string
		level, option int64
		value         int64
	}{
		{"SO_KEEPALIVE", socketLevel, keepAlive, 1}, {"TCP_KEEPIDLE", protocolTCP, keepAliveIdle, 300},
		{"TCP_KEEPINTVL", protocolTCP, keepAliveInterval, 30}, {"TCP_KEEPCNT", protocolTCP, keepAliveProbes, 4},
	} {
		listener.SocketOptions = append(listener.SocketOptions, &corev3.SocketOption{
			Description: o.name, Level: o.level, Name: o.option,
			Value: &corev3.SocketOption_IntValue{IntValue: o.value}, State: corev3.SocketOption_STATE_LISTENING,
		})
	}
}
