package envoy

import (
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// downstreamTLS has the options of TLS with clients: all that the filter chains of the https
// listener have in common besides their certificates, of which there is one of each kind of
// key at most. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/tls.proto
func downstreamTLS(f *routing.Fleet, secrets []string) *tlsv3.DownstreamTlsContext {
	tls := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams:     tlsParameters(f.TLS),
		AlpnProtocols: []string{"h2", "http/1.1"},
	}}
	for _, secret := range secrets {
		tls.CommonTlsContext.TlsCertificateSdsSecretConfigs = append(tls.CommonTlsContext.TlsCertificateSdsSecretConfigs, secretFromStream(secret))
	}
	if len(secrets) > 1 {
		// Without it Envoy shows the first one to all clients whose server name neither has,
		// also to those that do not take its kind of key.
		tls.FullScanCertsOnSniMismatch = wrapperspb.Bool(true)
	}
	askForCertificate(tls, f.TLS)
	resumeSessions(tls, f.TLS)
	return tls
}

// tlsParameters leaves the cipher suites of TLS 1.2 to Envoy, which takes those with ECDHE
// and AES-GCM or ChaCha20-Poly1305 only.
func tlsParameters(t routing.DownstreamTLS) *tlsv3.TlsParameters {
	least := tlsv3.TlsParameters_TLSv1_2
	if t.MinVersion == routing.TLS13 {
		least = tlsv3.TlsParameters_TLSv1_3
	}
	return &tlsv3.TlsParameters{TlsMinimumProtocolVersion: least}
}

// secretFromStream waits with a limit: a secret that Envoy rejects must not hold back the
// listener, and with it every other certificate.
func secretFromStream(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: adsSource(15 * time.Second)}
}

// sessionTimeout is how long a session of TLS 1.2 can be resumed: two periods, so that its
// key is still there. Envoy gives a session of TLS 1.3 two days, but it ends with its key.
const sessionTimeout = 2 * routing.TicketKeyPeriod

// resumeSessions says which sessions clients can resume. Where clients are asked for
// certificates they can resume none: Envoy does not verify a certificate again when it
// resumes a session, so an expired one would be good for days.
func resumeSessions(tls *tlsv3.DownstreamTlsContext, t routing.DownstreamTLS) {
	switch {
	case t.AsksForCertificates():
		resumeNothing(tls)
	case t.SharedTickets:
		tls.SessionTimeout = durationpb.New(sessionTimeout)
		tls.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_SessionTicketKeysSdsSecretConfig{
			SessionTicketKeysSdsSecretConfig: secretFromStream(routing.TicketKeysSecret),
		}
	}
}

// resumeNothing has every client make a full handshake.
func resumeNothing(tls *tlsv3.DownstreamTlsContext) {
	tls.DisableStatefulSessionResumption = true
	tls.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true}
	tls.SessionTimeout = nil
}
