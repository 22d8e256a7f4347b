package relay

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"relay/internal/files"
)

// serverTLS is how one of Relay's own ports is secured: PEM files that are read
// again when they change, so that renewing them needs no restart.
type serverTLS struct {
	PortTLS
	// optionalClient lets clients without a certificate connect all the same.
	optionalClient bool
	// protocols are offered by ALPN.
	protocols []string

	mu      sync.Mutex
	stamp   [3]files.Stamp
	checked time.Time
	config  *tls.Config
	// broken is why the files as they are now cannot be used.
	broken error
	// authorities are those of clients, by their DER bytes.
	authorities map[string]bool
}

// recheck is how often the files are looked at, at most.
const recheck = time.Second

func (t PortTLS) enabled() bool { return t.CertFile != "" }

// validate says what is missing; option is the common part of the flags' names.
func (t PortTLS) validate(option string) error {
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		return fmt.Errorf("--%s-cert and --%s-key go together", option, option)
	case t.ClientCAFile != "" && t.CertFile == "":
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
		s.broken = nil
		return s.config, nil
	}
	config, err := s.load()
	s.broken = err
	if err != nil {
		if s.config != nil {
			return s.config, nil
		}
		return nil, err
	}
	s.config, s.stamp = config, stamp
	return config, nil
}

// state returns the certificate that is shown, and why the files as they are now
// cannot be used, if so.
func (s *serverTLS) state() (*x509.Certificate, error) {
	config, err := s.current()
	if err != nil {
		return new(x509.Certificate), err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return config.Certificates[0].Leaf, s.broken
}

func (s *serverTLS) stamps() (stamp [3]files.Stamp) {
	for i, path := range []string{s.CertFile, s.KeyFile, s.ClientCAFile} {
		stamp[i], _ = files.StampOf(path) // or none
	}
	return stamp
}

func (s *serverTLS) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", s.CertFile, s.KeyFile, files.PairCure(err))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: s.protocols, Certificates: []tls.Certificate{pair}}
	if s.ClientCAFile == "" {
		return config, nil
	}
	authorities, err := files.Authorities(s.ClientCAFile)
	if err != nil {
		return nil, err
	}
	config.ClientCAs = files.Pool(authorities)
	s.authorities = make(map[string]bool)
	for _, a := range authorities {
		s.authorities[string(a.Raw)] = true
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	if s.optionalClient {
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return config, nil
}

// verifyAgain says why none of the chains by which a client's certificate was
// verified when it connected would do now.
func (s *serverTLS) verifyAgain(chains [][]*x509.Certificate, now time.Time) error {
	// Files that are broken change nothing.
	_, _ = s.current()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := fmt.Errorf("the authority of its certificate was taken out of %s: give it another, or add its authority again", s.ClientCAFile)
	for _, chain := range chains {
		if !s.authorities[string(chain[len(chain)-1].Raw)] {
			continue
		}
		outdated := func(c *x509.Certificate) bool { return now.After(c.NotAfter) }
		if !slices.ContainsFunc(chain, outdated) {
			return nil
		}
		err = errors.New("its certificate has expired since it connected: renew it")
	}
	return err
}
