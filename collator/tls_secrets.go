package collator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"relay/certs"
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
	if secret := f.buildServiceSecret(name); secret != nil {
		return secret, nil
	}
	if _, _, ok := routing.SecretOfOIDC(name); ok {
		return f.buildOIDCSecret(name)
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
	authorities, err := certs.ParseAuthorities(text)
	if err != nil {
		return nil, err
	}
	for _, c := range authorities {
		if c.BasicConstraintsValid && !c.IsCA {
			return nil, fmt.Errorf("the certificate of %s is of no authority", c.Subject)
		}
	}
	return certs.EncodePEM(authorities), nil
}
