package main

import (
	"errors"
	"fmt"
	"slices"

	"relay/collator"
)

// EdgeTLSConfig is how the https listener of a fleet meets clients: a group of
// flags for the one fleet, and keys of each fleet in the configuration file.
type EdgeTLSConfig struct {
	TLSMinVersion string `group:"Fleet" name:"tls-min-version" default:"1.2" enum:"1.2,1.3" yaml:"tls-min-version" help:"The least version of TLS that clients of HTTPS may use: 1.2 or 1.3."`
}

// edgeTLSKeys are the keys of EdgeTLSConfig in the configuration file.
var edgeTLSKeys = []string{"tls-min-version"}

func (f FleetConfig) validateTLS() error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("fleet %q "+format, append([]any{f.Name}, args...)...))
	}
	if !slices.Contains([]string{"", "1.2", "1.3"}, f.TLSMinVersion) {
		fail("has tls-min-version: %s: use 1.2 or 1.3", f.TLSMinVersion)
	}
	if f.TLSMinVersion == "1.3" && !f.HTTPS.IsValid() {
		fail("has tls-min-version: 1.3, but does not listen for HTTPS: give https")
	}
	return errors.Join(errs...)
}

func (e EdgeTLSConfig) downstreamTLS() collator.DownstreamTLS {
	return collator.DownstreamTLS{MinVersion: collator.TLSVersion(e.TLSMinVersion)}
}
