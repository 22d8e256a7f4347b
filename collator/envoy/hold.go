package envoy

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/ratelimit"
)

// holdSpare is how much longer than the app says Envoys wait for an answer: it is Relay that answers.
const holdSpare = time.Second

// holdAskedAgain is how often Relay is asked again if it is away. The pauses are random, and grow to twice as
// much each time: in all they are some minutes.
const holdAskedAgain = 13

// HoldFilter makes the filter by which new connections to a service wait while it has no instance, for so long
// at most; and one that does nothing while it has one.
//
// If Relay is away, it is asked again for as long; then the connection is closed: there is nothing that
// it could go on to.
func HoldFilter(f *routing.Fleet, cluster string, hold time.Duration, waits bool) (*corev3.TypedExtensionConfig, error) {
	var p packer
	name := routing.HoldFilter(cluster)
	if !waits {
		return asksNothing(&p, name), p.err
	}
	relay := relayService(&p, f)
	relay.Timeout = durationpb.New(hold + holdSpare)
	relay.RetryPolicy.NumRetries = wrapperspb.UInt32(holdAskedAgain)
	config := connectionQuestion{domain: ratelimit.HoldDomain, stats: "hold", relay: relay, node: true, deny: true}.filter(&p, name, cluster)
	return config, p.err
}

// attemptsWhileHeld has a connection tried again if it is refused, for about half a minute: its instance has
// just died, and Relay does not know yet. It is the same number for each service: with another one the
// listener would be another one.
func attemptsWhileHeld(proxy *tcpproxyv3.TcpProxy) {
	const longest, attempts = 500 * time.Millisecond, 120 // the pauses are random, and half as long on average
	proxy.MaxConnectAttempts = wrapperspb.UInt32(attempts)
	proxy.BackoffOptions = &corev3.BackoffStrategy{
		BaseInterval: durationpb.New(20 * time.Millisecond), MaxInterval: durationpb.New(longest),
	}
}
