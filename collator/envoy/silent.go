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
