package relay

import (
	"errors"
	"fmt"
)

// StatusPage says what of the status page there is, and where: see docs/monitoring.md.
type StatusPage struct {
	// File names the services and places.
	File string
	// Address is HOST:PORT, where the public gets the page; empty for no port.
	Address string
	TLS     PortTLS
	// Dir is where its files are written for a web server; empty for none.
	Dir string
	// StateDir is where history and incidents are kept.
	StateDir string
}

func (s StatusPage) enabled() bool { return s.File != "" }

// Validate says what is missing or does not go together.
func (s StatusPage) Validate() error {
	errs := []error{s.TLS.validate("status-page")}
	if s.File == "" && (s.Address != "" || s.Dir != "") {
		errs = append(errs, errors.New("--status-page and --status-page-dir need --status-page-file: it names the services that the public is told of"))
	}
	if s.Address == "" && s.TLS.enabled() {
		errs = append(errs, errors.New("--status-page-cert has an effect with --status-page only"))
	}
	if s.Address != "" {
		if err := checkAddress(s.Address, "8080"); err != nil {
			errs = append(errs, fmt.Errorf("--status-page: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (s StatusPage) serverTLS() *serverTLS {
	return &serverTLS{PortTLS: s.TLS, protocols: []string{"http/1.1"}}
}
