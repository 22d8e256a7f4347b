package envoytest_test

import (
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"relay/certs"
	"relay/certs/certstest"
	"relay/xds/envoytest"
)

func inlineBytes(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// judge sends a certificate in a response of its own, and returns why Envoy rejects it.
func (e *testEnvoy) judge(name string, chain, key []byte) (rejection string) {
	e.t.Helper()
	e.marks++
	return e.send(secrets.url, []named{{name, fmt.Sprint(e.marks), &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{
		TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: inlineBytes(chain), PrivateKey: inlineBytes(key)},
	}}}})
}

// shown is why a client is not shown a chain for a name; nil if it is.
func (e *testEnvoy) shown(name string, chain []byte) error {
	leaf, _ := pem.Decode(chain)
	conn, err := tls.Dial("tcp", e.at(""), &tls.Config{ServerName: name + ".test", InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if string(conn.ConnectionState().PeerCertificates[0].Raw) != string(leaf.Bytes) {
		return errors.New("another certificate is shown")
	}
	return nil
}

// Envoy takes and serves whatever Relay accepts. It refuses what Relay refuses, but for
// what is known: the parser of Relay cannot read that.
func TestOddCertificates(t *testing.T) {
	t.Parallel()
	odd := certstest.TestCA(t).TestOdd(t, false)
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := newTestEnvoy(t, version)
		names := []string{marker}
		for i := range odd {
			names = append(names, fmt.Sprintf("odd%d", i))
		}
		askForSecrets(e, names...)
		e.reached(secrets)
		for i, o := range odd {
			name := names[1+i]
			accepted, _, err := certs.ParsePEM(o.Bundle())
			if err != nil {
				if rejection := e.judge(name, certstest.Join(o.Leaf, o.Chain), o.Key); (rejection == "") != (o.EnvoyTakes || o.OldEnvoyTakes && version == envoytest.Oldest) {
					t.Errorf("%s: Envoy says %q, Relay: %v", o.Name, rejection, err)
				}
				continue
			}
			if rejection := e.judge(name, accepted.Chain, accepted.Key); rejection != "" {
				t.Errorf("%s: Relay accepts it, Envoy says: %s", o.Name, rejection)
			} else if err := e.shown(name, accepted.Chain); err != nil && !o.ClientsRefuse {
				t.Errorf("%s: Envoy accepts it, and clients: %v", o.Name, err)
			}
		}
	})
}

// Whatever byte of a certificate is damaged, Envoy takes it if Relay does.
func TestDamagedCertificates(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := newTestEnvoy(t, version)
		askForSecrets(e, "n")
		for _, kind := range []certstest.KeyType{certstest.P256, certstest.RSA2048} {
			issued := ca.TestIssue(t, []string{"n.test", "*.o.test"}, certstest.Options{KeyType: kind})
			block, _ := pem.Decode(issued.Leaf)
			for i := range block.Bytes {
				damaged := append([]byte{}, block.Bytes...)
				damaged[i] ^= 1 << (i % 8)
				leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: damaged})
				accepted, _, err := certs.ParsePEM(certstest.Join(issued.Key, leaf))
				if err != nil {
					continue
				}
				if rejection := e.judge("n", accepted.Chain, accepted.Key); rejection != "" {
					t.Errorf("byte %d was changed: Relay accepts it, Envoy says: %s\n%s", i, rejection, hex.EncodeToString(damaged))
				}
			}
		}
	})
}

// Envoy takes whatever authorities Relay accepts, for clients and for apps.
func TestOddAuthorities(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	odd := ca.TestOdd(t, true)
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := newTestEnvoy(t, version)
		askForListeners(e)
		certificate := buildSecret(e, "certificate", good).(*tlsv3.Secret).GetTlsCertificate()
		e.accepted(listeners.url, named{"tls", "1", e.tlsListener(chainWith(t, "n", &tlsv3.CommonTlsContext{
			TlsCertificates:       []*tlsv3.TlsCertificate{certificate},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: secretOf("n")},
		}))})
		e.awaitRequest(secrets.url, "n")
		for i, o := range odd {
			accepted, err := certs.ParseAuthorities(certstest.Join(o.Leaf, []byte("\n"), o.Chain))
			if err != nil {
				continue
			}
			rejection := e.send(secrets.url, []named{{"n", fmt.Sprint(i), &tlsv3.Secret{Name: "n", Type: &tlsv3.Secret_ValidationContext{
				ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inlineBytes(certs.EncodePEM(accepted))},
			}}}})
			if rejection != "" {
				t.Errorf("%s: Relay accepts it, Envoy says: %s", o.Name, rejection)
			}
		}
	})
}
