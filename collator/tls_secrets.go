package collator

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/xds"
)

// tlsSecret names a secret of a fleet that is no certificate: what the https listener
// needs besides certificates.
type tlsSecret struct{ fleet, name string }

func (c *Collator) setTLSSecret(fleet, name string, secret proto.Message) {
	c.inbox.note(func(n *notes) {
		if n.tlsSecrets == nil {
			n.tlsSecrets = make(map[tlsSecret]proto.Message)
		}
		n.tlsSecrets[tlsSecret{fleet, name}] = secret
	})
}

func (f *fleetState) setTLSSecrets(secrets map[tlsSecret]proto.Message) {
	for key, secret := range secrets {
		if key.fleet == f.Name {
			f.tlsSecrets[key.name] = secret
			f.mark(xds.Secret, key.name)
		}
	}
}

func (f *fleetState) buildSecret(name string) (proto.Message, error) {
	if secret := f.tlsSecrets[name]; secret != nil {
		return secret, nil
	}
	if certificate := f.secrets[name]; certificate != nil {
		return envoy.Certificate(certificate), nil
	}
	return nil, nil
}

// SetClientCA gives a fleet the authorities, in PEM, of which its clients must show a
// certificate. Until it is called, a fleet that asks for certificates takes no connection
// by HTTPS. An error says why the text is unusable: then the last good authorities stay.
func (c *Collator) SetClientCA(fleet string, text []byte) error {
	authorities, err := parseAuthorities(text)
	if err != nil {
		return err
	}
	c.setTLSSecret(fleet, routing.ClientCASecret, envoy.ClientAuthorities(authorities))
	return nil
}

// parseAuthorities returns the certificates in a PEM text, and nothing else of it: a
// private key beside them is sent to nobody.
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
