package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"relay/certs/certstest"
)

// serverName is that of the server's certificate.
const serverName = "relay.example.test"

// keys are what a client needs for mutual TLS, in PEM.
type keys struct {
	Authority, Certificate, Key []byte
}

// newKeys returns what a server needs, and its clients.
func newKeys() (*tls.Config, *keys, error) {
	ca, err := certstest.NewCA()
	if err != nil {
		return nil, nil, err
	}
	issued, err := ca.Issue([]string{serverName}, certstest.Options{})
	if err != nil {
		return nil, nil, err
	}
	config, err := issued.ServerTLS()
	if err != nil {
		return nil, nil, err
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	config.ClientCAs.AppendCertsFromPEM(ca.RootPEM())
	client, err := ca.Issue([]string{"envoy.example.test"}, certstest.Options{})
	if err != nil {
		return nil, nil, err
	}
	return config, &keys{ca.RootPEM(), certstest.Join(client.Leaf, client.Chain), client.Key}, nil
}

// config is nil without keys, for plain text.
func (k *keys) config() (*tls.Config, error) {
	if k == nil {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(k.Certificate, k.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(k.Authority) {
		return nil, errors.New("no certificate authority in what the server told")
	}
	return &tls.Config{ServerName: serverName, RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}
