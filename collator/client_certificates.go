package collator

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ClientCertificates says what a fleet wants of its clients by HTTPS.
type ClientCertificates string

// The choices; the zero value is ClientCertificatesOff.
const (
	// ClientCertificatesOff asks for none.
	ClientCertificatesOff ClientCertificates = "off"
	// ClientCertificatesOptional asks for one, and takes clients without. One
	// that is shown must be good.
	ClientCertificatesOptional ClientCertificates = "optional"
	// ClientCertificatesRequired takes no client without. Plain HTTP is redirected
	// to HTTPS, but for ACME challenges.
	ClientCertificatesRequired ClientCertificates = "required"
)

const clientCASecret = fleetSecretPrefix + "client-ca"

// clientCertHeader tells apps who the client is. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
const clientCertHeader = "x-forwarded-client-cert"

func (t DownstreamTLS) asksForCertificates() bool {
	return t.ClientCertificates == ClientCertificatesOptional || t.ClientCertificates == ClientCertificatesRequired
}

func (t DownstreamTLS) requiresCertificates() bool {
	return t.ClientCertificates == ClientCertificatesRequired
}

// SetClientCA gives a fleet the authorities, in PEM, of which its clients must
// show a certificate. Until it is called, a fleet that asks for certificates
// takes no connection by HTTPS. An error says what makes the text unusable; the
// last good authorities stay then.
func (c *Collator) SetClientCA(fleet string, text []byte) error {
	authorities, err := parseAuthorities(text)
	if err != nil {
		return err
	}
	c.setSecret(fleet, &tlsv3.Secret{
		Name: clientCASecret,
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: inlineBytes(authorities),
		}},
	})
	return nil
}

// parseAuthorities returns the certificates in a PEM text, and nothing else that
// is in it: a private key beside them is sent to nobody.
func parseAuthorities(text []byte) ([]byte, error) {
	var authorities bytes.Buffer
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d is no certificate: %w", n, err)
		}
		if certificate.BasicConstraintsValid && !certificate.IsCA {
			return nil, fmt.Errorf("PEM block %d is the certificate of %s, which is no authority", n, certificate.Subject)
		}
		if err := pem.Encode(&authorities, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		return nil, errors.New("a PEM block is broken, or the text ends in the middle of it")
	}
	if authorities.Len() == 0 {
		return nil, errors.New("no certificate in PEM in it")
	}
	return authorities.Bytes(), nil
}

// askForCertificate has clients verified. The authorities are a secret of their
// own: new ones drain no connection.
func askForCertificate(tls *tlsv3.DownstreamTlsContext, t DownstreamTLS) {
	if !t.asksForCertificates() {
		return
	}
	tls.RequireClientCertificate = wrapperspb.Bool(t.requiresCertificates())
	tls.CommonTlsContext.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
		ValidationContextSdsSecretConfig: secretFromStream(clientCASecret),
	}
}

// tellClient has the app told who the client is, in place of what the client
// says of itself.
func tellClient(manager *hcmv3.HttpConnectionManager) {
	manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
	manager.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
		Subject: wrapperspb.Bool(true), Dns: true, Uri: true,
	}
}

// withoutLookalikes removes what many app servers (CGI, WSGI and others) take for
// clientCertHeader: its name with underscores. Envoy removes the name itself,
// whatever the fleet asks of its clients.
func withoutLookalikes() (mutations []*mutationrulesv3.HeaderMutation) {
	words := strings.Split(clientCertHeader, "-")
	names := words[:1]
	for _, word := range words[1:] {
		var longer []string
		for _, name := range names {
			longer = append(longer, name+"-"+word, name+"_"+word)
		}
		names = longer
	}
	for _, name := range names[1:] {
		mutations = append(mutations, &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Remove{Remove: name}})
	}
	return mutations
}
