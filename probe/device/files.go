package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"relay/internal/files"
	"relay/probe/connect"
)

// readPair reads a certificate with its key. What cannot be used is read again soon: a renewal writes two files.
func readPair(ctx context.Context, certificate, key string) (*tls.Certificate, error) {
	return readPairBy(ctx, certificate, key, tls.LoadX509KeyPair)
}

func readPairBy(ctx context.Context, certificate, key string, load func(certificate, key string) (tls.Certificate, error)) (*tls.Certificate, error) {
	var err error
	for range 3 {
		var pair tls.Certificate
		if pair, err = load(certificate, key); err == nil {
			return &pair, nil
		}
		again := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil, files.PairCure(err)
		case <-again.C:
		}
	}
	return nil, files.PairCure(err)
}

// clientTLS reads what the device shows, and whom it trusts.
func (p *Prober) clientTLS(ctx context.Context, d *device, serverName string) (*tls.Config, error) {
	config := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	var err error
	if config.RootCAs, err = p.roots(d.CA); err != nil {
		return nil, &connect.Words{Text: "the file of authorities cannot be used: " + err.Error()}
	}
	if d.Certificate == "" {
		return config, nil
	}
	pair, err := readPair(ctx, d.Certificate, d.Key)
	if err != nil {
		return nil, &connect.Words{Text: "the device's certificate cannot be used: " + err.Error()}
	}
	// It is shown also to who asks for one of other authorities: what the edge makes of it is what is asked.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	return config, nil
}

func (p *Prober) roots(file string) (*x509.CertPool, error) {
	if file != "" {
		return files.AuthorityPool(file)
	}
	if p.options.Roots != nil {
		return p.options.Roots()
	}
	return nil, nil
}

// expired says that the device's own certificate is out of date, in brackets; it is empty if not.
func expired(config *tls.Config) string {
	if config.GetClientCertificate == nil {
		return " (the device has no certificate)"
	}
	pair, err := config.GetClientCertificate(nil)
	if err != nil || pair.Leaf == nil || time.Now().Before(pair.Leaf.NotAfter) {
		return ""
	}
	return " (it expired " + pair.Leaf.NotAfter.UTC().Format("2006-01-02 15:04") + ")"
}
