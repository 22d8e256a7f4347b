// Package testbed runs the relay binary and a real Envoy on this machine, with certificates in a
// folder: for the demo and the scenarios.
package testbed

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"relay/certs/certstest"
)

// Bed is a Relay and an Envoy that gets everything from it.
type Bed struct {
	// Dir takes the files; the caller removes it.
	Dir string
	// RelayBinary and EnvoyBinary are the programs.
	RelayBinary, EnvoyBinary string
	// XDS is where Envoy connects to Relay, and EnvoyAdmin where Envoy's admin endpoint listens.
	XDS, EnvoyAdmin string
	// Fleet is that of Envoy; Relay's default one if empty.
	Fleet string
	// Terminal takes the logs too, unless it is nil.
	Terminal io.Writer

	// Relay and Envoy are what was started last.
	Relay, Envoy *Process
}

// StartRelay runs "relay serve" with these flags, and the one for xDS.
func (b *Bed) StartRelay(flags ...string) error {
	var err error
	b.Relay, err = Start(b.Dir, "relay", b.Terminal, b.RelayBinary, b.RelayArgs(flags...)...)
	return err
}

// RelayArgs is the command line of StartRelay.
func (b *Bed) RelayArgs(flags ...string) []string {
	return slices.Concat([]string{"serve"}, flags, []string{"--xds", b.XDS})
}

// StartEnvoy runs Envoy with what "relay bootstrap" prints, and these further arguments.
func (b *Bed) StartEnvoy(ctx context.Context, nodeID string, args ...string) error {
	flags := []string{"bootstrap", "--xds", b.XDS, "--envoy-admin", b.EnvoyAdmin, "--node-id", nodeID}
	if b.Fleet != "" {
		flags = append(flags, "--fleet", b.Fleet)
	}
	bootstrap := exec.CommandContext(ctx, b.RelayBinary, flags...)
	bootstrap.Env = CleanEnvironment(os.Environ())
	text, err := bootstrap.Output()
	if err != nil {
		return fmt.Errorf("relay bootstrap: %w", err)
	}
	if err := os.WriteFile(b.BootstrapFile(), text, 0o600); err != nil {
		return err
	}
	b.Envoy, err = Start(b.Dir, "envoy", b.Terminal, b.EnvoyBinary, append([]string{
		"--config-path", b.BootstrapFile(), "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning",
	}, args...)...)
	return err
}

// BootstrapFile is Envoy's bootstrap.
func (b *Bed) BootstrapFile() string { return filepath.Join(b.Dir, "envoy.yaml") }

// CertificateDirectory keeps certificates as marathon-acme does without Vault.
type CertificateDirectory string

// Put stores a certificate under a name, in place of the one before.
func (d CertificateDirectory) Put(name string, issued *certstest.Issued) error {
	return d.PutFile(name+".pem", issued.Bundle())
}

// PutFile stores a file, in place of the one before.
func (d CertificateDirectory) PutFile(name string, text []byte) error {
	path := filepath.Join(string(d), name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
