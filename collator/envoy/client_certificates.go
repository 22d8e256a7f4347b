package envoy

import (
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// clientCertHeader tells apps who the client is. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
const clientCertHeader = "x-forwarded-client-cert"

// askForCertificate has the certificates of clients verified. The authorities are a secret,
// so new ones touch no listener and close no connection.
func askForCertificate(tls *tlsv3.DownstreamTlsContext, t routing.DownstreamTLS) {
	if !t.AsksForCertificates() {
		return
	}
	tls.RequireClientCertificate = wrapperspb.Bool(t.RequiresCertificates())
	tls.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
		ValidationContextSdsSecretConfig: secretFromStream(routing.ClientCASecret),
	}
}

// forwardClientCertificate has Envoy tell the app who the client is, in place of what the
// client says of itself.
func forwardClientCertificate(manager *hcmv3.HttpConnectionManager) {
	manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	manager.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
		Subject: wrapperspb.Bool(true), Dns: true, Uri: true,
	}
}
