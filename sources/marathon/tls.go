package marathon

import (
	"crypto/tls"
	"errors"
	"fmt"

	"relay/internal/files"
)

// tlsConfig returns the settings of TLS for https URLs. A file that cannot be used is an
// error. The client certificate is read again for every connection, so that it may be
// renewed at any time.
func tlsConfig(cfg Config) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.InsecureSkipTLSVerify}
	if cfg.CAFile != "" {
		var err error
		if config.RootCAs, err = files.AuthorityPool(cfg.CAFile); err != nil {
			return nil, fmt.Errorf("marathon: authorities: %w", err)
		}
	}
	if cfg.ClientCertFile == "" && cfg.ClientKeyFile == "" {
		return config, nil
	}
	if cfg.ClientCertFile == "" || cfg.ClientKeyFile == "" {
		return nil, errors.New("marathon: a client certificate needs its key, and a key its certificate")
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cfg.ClientCertFile, cfg.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", cfg.ClientCertFile, err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("marathon: %w", err)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return config, nil
}
