package edge

import "crypto/x509"

// Roots returns the authorities that are trusted, as the file has them now; nil are the system's.
func (p *Prober) Roots() (*x509.CertPool, error) { return p.authorities() }
