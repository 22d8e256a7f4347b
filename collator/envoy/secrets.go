package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"relay/certs"
	"relay/collator/routing"
)

// Certificate makes the secret of a certificate.
func Certificate(c *certs.Certificate) *tlsv3.Secret {
	return &tlsv3.Secret{
		Name: routing.SecretName(c),
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inlineBytes(c.Chain),
			PrivateKey:       inlineBytes(c.Key),
		}},
	}
}

// ClientAuthorities makes the secret with the authorities, in PEM, of clients.
func ClientAuthorities(text []byte) *tlsv3.Secret {
	return &tlsv3.Secret{
		Name: routing.ClientCASecret,
		Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: inlineBytes(text),
		}},
	}
}

// SessionTicketKeys makes the secret with the keys of session tickets: the first
// one encrypts.
func SessionTicketKeys(keys [][]byte) *tlsv3.Secret {
	var all tlsv3.TlsSessionTicketKeys
	for _, key := range keys {
		all.Keys = append(all.Keys, inlineBytes(key))
	}
	return &tlsv3.Secret{Name: routing.TicketKeysSecret, Type: &tlsv3.Secret_SessionTicketKeys{SessionTicketKeys: &all}}
}

func inlineBytes(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}
