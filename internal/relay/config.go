package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/certs"
	"relay/certs/dir"
	"relay/certs/vault"
	"relay/collator"
	"relay/collator/routing"
	"relay/internal/graphite"
	"relay/internal/hostname"
	"relay/internal/logs"
	"relay/internal/problem"
	"relay/probe"
	"relay/sources/marathon"
)

// Config is everything that the program can be told. cmd/relay fills it from flags,
// so errors name the flags.
type Config struct {
	// Version is what the program calls itself.
	Version string
	// Warnings are mistakes in the settings that do not keep Relay from serving. They are
	// logged at start and shown, and Check counts them.
	Warnings []problem.Problem

	Apps         Apps
	Fleets       []Fleet
	Certificates Certificates
	Credentials  Credentials
	State        State
	XDS          XDSPort
	Admin        AdminPort
	Scaling      Scaling
	Graphite     graphite.Config
	Syslog       logs.Config
	Probes       Probes
	StatusPage   StatusPage

	// SessionTicketKeyFile holds a secret of 32 bytes, as they are, in hex or in
	// base64. By it the Envoys of a fleet resume each other's TLS sessions; without it
	// each Envoy resumes only its own. The file is read again when it changes.
	SessionTicketKeyFile string
}

// Apps says where apps come from: exactly one of its sources is given (see appSources).
type Apps struct {
	// Marathon is used if it has URLs.
	Marathon marathon.Config
	// File is a YAML file, or a folder of them.
	File string
	// ACME is the id of the app whose port 0 answers ACME challenges.
	ACME string
}

// Fleet is a fleet, and which Envoys may be of it. Relay adds its own
// ports to ReservedPorts.
type Fleet struct {
	routing.Fleet
	// ClientCAFile holds, in PEM, the authorities of the certificates that clients
	// of HTTPS show. It is read again when it changes.
	ClientCAFile string
	// ErrorPagesDir is a folder with pages that visitors see in place of the built-in ones. They
	// are read at start.
	ErrorPagesDir string
	// Clients are DNS names or URIs. The certificate of an Envoy must have one of them;
	// "*" stands for one label. If there are none, every certificate will do that the
	// xDS port lets in.
	Clients []string
}

// asksForCertificates reports whether clients of HTTPS are to show certificates.
func (f Fleet) asksForCertificates() bool {
	return f.TLS.ClientCertificates != "" && f.TLS.ClientCertificates != routing.ClientCertificatesOff
}

// Certificates says where certificates come from; both may be used.
type Certificates struct {
	// Dir is used if it has paths or a default.
	Dir dir.Config
	// Vault is used if it has addresses.
	Vault vault.Config
	// Grace is how long plain HTTP waits for a certificate store that cannot be
	// read at start.
	Grace time.Duration
	// OnRead is called with what a store has read, before it is used. It may be nil.
	OnRead func(source string, all []*certs.Certificate)
}

// State says what is saved for a start at which a source cannot be read.
type State struct {
	// Dir is where to save; nothing is saved if it is empty.
	Dir string
	// Grace is how long a source may take at start before its saved state is
	// served in its place.
	Grace time.Duration
	// Certificates tells to save certificates and their private keys too.
	Certificates bool
	// KeyFile holds the key that encrypts what is saved: 32 bytes, as they are, in hex
	// or in base64.
	KeyFile string
}

// XDSPort is where Envoys connect.
type XDSPort struct {
	// Address is HOST:PORT.
	Address string
	// TLS with a ClientCAFile lets in only Envoys that show a certificate.
	TLS PortTLS
	// Plaintext allows addresses beyond loopback without TLS: whoever reaches the
	// port gets the private keys of all certificates.
	Plaintext bool
}

// AdminPort is where people, monitoring and marathon-acme connect.
type AdminPort struct {
	// Address is HOST:PORT.
	Address string
	// TLS with a ClientCAFile lets in clients that show a certificate.
	TLS PortTLS
	// TokenFile holds the token that lets clients in. It is read again when it
	// changes.
	TokenFile string
	// Open allows addresses beyond loopback without token or certificate.
	Open bool
	// HookNetworks may call the hooks without token or certificate.
	HookNetworks []netip.Prefix
	// AnyMethod lets the hooks be called with any method.
	AnyMethod bool
	// Pprof offers Go's profiles.
	Pprof bool
}

// PortTLS are the PEM files that secure a port. They are read again when they
// change.
type PortTLS struct {
	// CertFile is the certificate (chain) that is shown, and KeyFile its key. The
	// port takes plain text if they are empty.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities of the certificates that clients show.
	ClientCAFile string
}

// Validate says what is missing or does not go together, all of it at once.
func (c *Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	errs = append(errs, c.Apps.validate())
	if id := c.Apps.ACME; id != "" && !strings.HasPrefix(id, "/") {
		fail("--acme-app %s is not the id of an app: write /%s", id, id)
	}
	for _, f := range c.Fleets {
		errs = append(errs, f.validate())
		if f.HTTPS.IsValid() && !c.Certificates.any() {
			fail("fleet %q listens for HTTPS without certificates: give --certs-dir or --vault-addr", f.Name)
		}
	}
	if v := c.Certificates.Vault; (c.Certificates.hasVault() || c.Credentials.hasVault()) && v.Token == "" && v.TokenFile == "" && v.AppRole.RoleID == "" && v.Kubernetes.Role == "" {
		fail("no way to log in to Vault: give --vault-token-file, --vault-role-id with --vault-secret-id-file, --vault-kubernetes-role, or VAULT_TOKEN in the environment")
	}
	errs = append(errs, c.Credentials.validate(), c.validateAddresses(), c.validatePorts(), c.State.validate(), c.validateTickets(), c.Scaling.validate(c.Apps), c.Probes.validate(), c.validateGraphite(), c.Syslog.Validate(), c.StatusPage.Validate())
	return errors.Join(errs...)
}

// validate says what is wrong with a fleet.
func (f Fleet) validate() error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("fleet %q "+format, append([]any{f.Name}, args...)...))
	}
	if !slices.Contains([]routing.TCPServices{"", routing.TCPLabelled, routing.TCPAll, routing.TCPNone}, f.TCP) {
		fail("has tcp: %s: use labels, all or off", f.TCP)
	}
	if len(f.ServerNames) > 0 && !f.HTTPS.IsValid() {
		fail("has server-names, but does not listen for HTTPS: give https")
	}
	for _, err := range []error{f.Proxies.Check(), f.CheckAddresses()} {
		if err != nil {
			fail("%w", err)
		}
	}
	if f.HTTPSPublicPort != 0 && !f.OffersHTTPS() {
		fail("has https-public-port, but takes no HTTPS: give https, or trusted-proxies if a balancer in front of it does")
	}
	if _, err := normalNames(f.ServerNames); err != nil {
		fail("has server-names that are none: %w", err)
	}
	if !slices.Contains([]routing.TLSVersion{"", routing.TLS12, routing.TLS13}, f.TLS.MinVersion) {
		fail("has tls-min-version: %s: use 1.2 or 1.3", f.TLS.MinVersion)
	}
	if !slices.Contains([]routing.ClientCertificates{
		"", routing.ClientCertificatesOff, routing.ClientCertificatesOptional, routing.ClientCertificatesRequired,
	}, f.TLS.ClientCertificates) {
		fail("has client-certificates: %s: use off, optional or required", f.TLS.ClientCertificates)
	}
	asks := f.asksForCertificates()
	switch {
	case asks && f.ClientCAFile == "":
		fail("asks clients for certificates of nobody: give client-ca FILE")
	case !asks && f.ClientCAFile != "":
		fail("has a client-ca, but asks clients for no certificates: give client-certificates optional or required")
	}
	if (f.TLS.MinVersion == routing.TLS13 || asks || f.ClientCAFile != "") && !f.HTTPS.IsValid() {
		fail("has settings of TLS, but does not listen for HTTPS: give https")
	}
	return errors.Join(errs...)
}

// noCertificates is the mount of a Vault that has no certificates.
const noCertificates = "off"

func (c Certificates) hasVault() bool {
	return len(c.Vault.Addresses) > 0 && c.Vault.Mount != noCertificates
}

func (c Certificates) hasDir() bool { return len(c.Dir.Paths) > 0 || c.Dir.Default != "" }

func (c Certificates) any() bool { return c.hasVault() || c.hasDir() }

// sources are the names by which the stores call themselves.
func (c Certificates) sources() (names []string) {
	if c.hasDir() {
		names = append(names, "dir")
	}
	if c.hasVault() {
		names = append(names, "vault")
	}
	return names
}

// normalNames returns server names as the collator takes them.
func normalNames(names []string) (normal []string, err error) {
	for _, name := range names {
		n, bad := hostname.Domain(name)
		if hostname.IsAddress(n) {
			bad = fmt.Errorf("%s is an IP address: clients send no server name for one", n)
		}
		normal, err = append(normal, n), errors.Join(err, bad)
	}
	return normal, err
}

func (c *Config) collatorConfig() collator.Config {
	config := collator.Config{ACMEApp: c.Apps.ACME, CertificateSources: c.Certificates.sources(), CredentialSources: c.Credentials.sources()}
	for _, f := range c.Fleets {
		fleet := f.Fleet
		if fleet.HTTPSPublicPort == 0 {
			fleet.HTTPSPublicPort = f.HTTPS.Port()
		}
		fleet.ServerNames, _ = normalNames(f.ServerNames) // validated
		fleet.TLS.SharedTickets = slices.Contains(c.ticketFleets(), f.Name)
		fleet.Scaling, fleet.IgnoredClients = c.Scaling.Enabled, c.Scaling.Ignored.With(probe.UserAgent)
		fleet.ReservedPorts = slices.Concat(f.ReservedPorts, c.ownPorts())
		config.Fleets = append(config.Fleets, fleet)
	}
	return config
}

// ownPorts are those of Relay: it may share a machine with an Envoy.
func (c *Config) ownPorts() (ports []uint16) {
	for _, address := range []string{c.XDS.Address, c.Admin.Address, c.StatusPage.Address} {
		_, text, _ := net.SplitHostPort(address)
		if n, err := strconv.ParseUint(text, 10, 16); err == nil && n != 0 {
			ports = append(ports, uint16(n))
		}
	}
	return ports
}

// absolute makes a path of the configuration independent of the directory that
// Relay was started in, for messages that people read elsewhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
