package main

import (
	"errors"
	"fmt"
	"relay/collator/routing"
	"slices"
)

// EdgeTLSConfig is how the https listener of a fleet meets clients: flags for
// the one fleet, and keys of each fleet in the configuration file.
type EdgeTLSConfig struct {
	TLSMinVersion      string `group:"Fleet" name:"tls-min-version" default:"1.2" enum:"1.2,1.3" yaml:"tls-min-version" help:"The least version of TLS that clients of HTTPS may use: 1.2 or 1.3."`
	ClientCA           string `group:"Fleet" name:"client-ca" placeholder:"FILE" yaml:"client-ca" help:"PEM file with the authorities of the certificates that clients of HTTPS show; read again when it changes."`
	ClientCertificates string `group:"Fleet" default:"off" enum:"off,optional,required" yaml:"client-certificates" help:"Whether clients of HTTPS show a certificate: never asked for (off), asked for (optional), or refused without (required), with plain HTTP redirected to HTTPS. Apps find it in X-Forwarded-Client-Cert."`
}

func (e EdgeTLSConfig) asksForCertificates() bool {
	return e.ClientCertificates != "" && e.ClientCertificates != "off"
}

func (f FleetConfig) validateTLS() error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("fleet %q "+format, append([]any{f.Name}, args...)...))
	}
	if !slices.Contains([]string{"", "1.2", "1.3"}, f.TLSMinVersion) {
		fail("has tls-min-version: %s: use 1.2 or 1.3", f.TLSMinVersion)
	}
	if !slices.Contains([]string{"", "off", "optional", "required"}, f.ClientCertificates) {
		fail("has client-certificates: %s: use off, optional or required", f.ClientCertificates)
	}
	asks := f.asksForCertificates()
	switch {
	case asks && f.ClientCA == "":
		fail("asks clients for certificates of nobody: give client-ca FILE")
	case !asks && f.ClientCA != "":
		fail("has a client-ca, but asks clients for no certificates: give client-certificates optional or required")
	}
	if (f.TLSMinVersion == "1.3" || asks || f.ClientCA != "") && !f.HTTPS.IsValid() {
		fail("has settings of TLS, but does not listen for HTTPS: give https")
	}
	return errors.Join(errs...)
}

func (c *Config) downstreamTLS(f FleetConfig) routing.DownstreamTLS {
	return routing.DownstreamTLS{
		MinVersion:         routing.TLSVersion(f.TLSMinVersion),
		ClientCertificates: routing.ClientCertificates(f.ClientCertificates),
		SharedTickets:      slices.Contains(c.ticketFleets(), f.Name),
	}
}
