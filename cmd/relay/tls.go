package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// serverTLS is how one of Relay's own ports is secured: PEM files that are read
// again when they change, so that renewing them needs no restart.
type serverTLS struct {
	cert, key string
	// clientCA, when set, makes clients show a certificate of these authorities.
	clientCA string
	// optionalClient lets clients without a certificate connect all the same.
	optionalClient bool
	// protocols are offered by ALPN.
	protocols []string

	mu      sync.Mutex
	stamp   [3]fileStamp
	checked time.Time
	config  *tls.Config
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// recheck is how often the files are looked at, at most.
const recheck = time.Second

func (s *serverTLS) enabled() bool { return s.cert != "" }

// check says what is missing; option is the common part of the flags' names.
func (s *serverTLS) check(option string) error {
	switch {
	case (s.cert == "") != (s.key == ""):
		return fmt.Errorf("--%s-cert and --%s-key go together", option, option)
	case s.clientCA != "" && s.cert == "":
		return fmt.Errorf("--%s-client-ca needs --%s-cert and --%s-key", option, option, option)
	}
	return nil
}

// listen returns the configuration for a listener. What is wrong with the files
// is said at once; later, the last good ones stay.
func (s *serverTLS) listen() (*tls.Config, error) {
	if _, err := s.current(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: s.protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current() },
	}, nil
}

func (s *serverTLS) current() (*tls.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config != nil && time.Since(s.checked) < recheck {
		return s.config, nil
	}
	s.checked = time.Now()
	stamp := s.stamps()
	if s.config != nil && stamp == s.stamp {
		return s.config, nil
	}
	config, err := s.load()
	if err != nil {
		if s.config != nil {
			return s.config, nil
		}
		return nil, err
	}
	s.config, s.stamp = config, stamp
	return config, nil
}

func (s *serverTLS) stamps() (stamp [3]fileStamp) {
	for i, path := range []string{s.cert, s.key, s.clientCA} {
		if info, err := os.Stat(path); err == nil {
			stamp[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return stamp
}

func (s *serverTLS) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", s.cert, s.key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: s.protocols, Certificates: []tls.Certificate{pair}}
	if s.clientCA == "" {
		return config, nil
	}
	if config.ClientCAs, err = readPool(s.clientCA); err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	if s.optionalClient {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

// readPool reads the authorities in a PEM file.
func readPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %w", path, errors.New("no certificate in it"))
	}
	return pool, nil
}
