package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"relay/certs/vault"
	"relay/collator"
	"relay/collator/routing"
	"relay/sources"
)

// Config is everything that can be set: by flag, by environment variable
// (RELAY_ and the flag's name in capitals with underscores) or in the YAML file
// (the flag's name). A flag beats the environment, which beats the file.
type Config struct {
	MarathonConfig `embed:""`

	SourceFile string `group:"Applications" placeholder:"PATH" help:"Read apps from this YAML file, or from the YAML files in this folder, in place of Marathon."`
	ACMEApp    string `group:"Applications" name:"acme-app" default:"/marathon-acme" help:"The app whose port 0 answers ACME challenges."`

	Fleet           string         `group:"Fleet" help:"The group of the one fleet: apps name it in HAPROXY_GROUP, Envoys in node.cluster. For several fleets use the configuration file." default:"external"`
	HTTP            netip.AddrPort `group:"Fleet" name:"http" placeholder:"IP:PORT" default:"0.0.0.0:80" help:"Where the fleet's Envoys listen for HTTP (default ${default})."`
	HTTPS           netip.AddrPort `group:"Fleet" name:"https" placeholder:"IP:PORT" help:"Where they listen for HTTPS. Needs certificates."`
	HTTPSPublicPort uint16         `group:"Fleet" name:"https-public-port" placeholder:"PORT" help:"The port in redirects to HTTPS, where clients see another one than Envoy. Default: that of --https."`

	EdgeTLSConfig `embed:""`

	SessionTicketKeyFile string `group:"Fleet" placeholder:"FILE" help:"File with a secret of 32 bytes, as they are, in hex or in base64, by which all Envoys of a fleet resume each other's TLS sessions; the same for all Relays, and read again when it changes. Without it each Envoy resumes its own."`

	Clusters string `group:"Fleet" default:"all" enum:"all,on-demand" help:"on-demand: Envoys load the cluster of an app when a request needs it. For tens of thousands of apps, most of them idle. Their bootstrap needs --clusters on-demand too."`

	Certificates string `group:"Fleet" name:"certificates" default:"all" enum:"all,on-demand" help:"on-demand: Envoys load a certificate when a client asks for its name. For thousands of certificates; TLS sessions are not resumed then."`

	TCP              string   `group:"Fleet" name:"tcp" default:"labels" enum:"labels,all,off" help:"Which TCP services the Envoys open: those that labels ask for, all service ports of apps that are not HTTP (as marathon-lb does), or none (off)."`
	TCPReservedPorts []uint16 `group:"Fleet" name:"tcp-reserved-ports" default:"80,443,9901" placeholder:"PORT" help:"Ports that TCP services never get, such as those of the web and of Envoy's admin endpoint (default ${default}). Those of HTTP, HTTPS and Relay itself are kept anyway."`

	StreamIdleTimeout     time.Duration `group:"Requests" default:"1h" help:"A request or WebSocket on which nothing moves for so long is ended; 0: never."`
	RequestHeadersTimeout time.Duration `group:"Requests" default:"15s" help:"How long a client may take to send a request's head; 0: for ever."`
	ConnectTimeout        time.Duration `group:"Requests" default:"3s" help:"How long connecting to a task may take."`
	UpstreamIdleTimeout   time.Duration `group:"Requests" default:"4s" help:"Unused connections to tasks are closed after this. Keep it below the keep-alive of your apps; 0: never."`
	Retries               uint32        `group:"Requests" default:"2" help:"How often a request that cannot have reached a task is sent to another one."`

	UpstreamCA kong.FileContentFlag `group:"Requests" name:"upstream-ca" placeholder:"FILE" help:"PEM file with the authorities of tasks that take TLS (RELAY_{n}_TLS). Read at start."`

	CertsDir          []string      `group:"Certificates" placeholder:"PATH" help:"PEM files and directories of them."`
	CertsDefault      string        `group:"Certificates" placeholder:"FILE" help:"PEM file for clients that ask for no name, or an unknown one."`
	CertsPollInterval time.Duration `group:"Certificates" default:"60s" help:"Time between two looks at the certificates without being told of a change."`
	CertsGrace        time.Duration `group:"Certificates" default:"10s" help:"How long plain HTTP waits for a certificate store that cannot be read at start."`
	VaultAddr         []string      `group:"Certificates" placeholder:"URL" env:"RELAY_VAULT_ADDR,VAULT_ADDR" help:"Vault's addresses."`
	VaultMount        string        `group:"Certificates" default:"secret" help:"The KV version 2 mount that marathon-acme writes to, with a path prefix if there is one."`
	VaultToken        vault.Secret  `group:"Certificates" placeholder:"TOKEN" env:"RELAY_VAULT_TOKEN,VAULT_TOKEN" help:"Vault token. Better: a file, or the environment."`
	VaultTokenFile    string        `group:"Certificates" placeholder:"FILE" help:"File with the Vault token, read again when it changes."`
	VaultRoleID       string        `group:"Certificates" name:"vault-role-id" placeholder:"ID" help:"Log in by AppRole with this role id."`
	VaultSecretIDFile string        `group:"Certificates" name:"vault-secret-id-file" placeholder:"FILE" help:"File with the AppRole's secret id."`
	VaultAppRoleMount string        `group:"Certificates" name:"vault-approle-mount" default:"approle" placeholder:"PATH" help:"Where Vault's AppRole method is mounted (default ${default})."`
	VaultK8sRole      string        `group:"Certificates" name:"vault-kubernetes-role" placeholder:"ROLE" help:"Log in by the service account of Relay's pod, with this role."`
	VaultK8sMount     string        `group:"Certificates" name:"vault-kubernetes-mount" default:"kubernetes" placeholder:"PATH" help:"Where Vault's Kubernetes method is mounted (default ${default})."`
	VaultK8sTokenFile string        `group:"Certificates" name:"vault-kubernetes-token-file" placeholder:"FILE" help:"File with the service account's token, where it is not in its usual place."`
	VaultDefault      string        `group:"Certificates" placeholder:"NAME" help:"The certificate in Vault for clients that ask for no name, or an unknown one."`
	VaultNamespace    string        `group:"Certificates" env:"RELAY_VAULT_NAMESPACE,VAULT_NAMESPACE" help:"Vault Enterprise namespace."`
	VaultCAFile       string        `group:"Certificates" name:"vault-ca-file" env:"RELAY_VAULT_CA_FILE,VAULT_CACERT" placeholder:"FILE" help:"PEM file with the authorities trusted for Vault."`

	StateDir          string        `group:"State" placeholder:"PATH" help:"Save there what was served, for a start at which Marathon or Vault cannot be read. One directory for each Relay."`
	StateGrace        time.Duration `group:"State" default:"10s" help:"How long a source may take at start before its saved state is served in its place."`
	StateCertificates string        `group:"State" default:"off" enum:"off,encrypted" help:"Save certificates and their private keys too, encrypted by --state-key-file."`
	StateKeyFile      string        `group:"State" placeholder:"FILE" help:"File with a key of 32 bytes, as they are, in hex or in base64, that encrypts all saved state. Without it passwords of apps are not saved, and ports that ask for one answer 403."`

	XDS          string   `group:"Server" name:"xds" default:"127.0.0.1:18000" placeholder:"HOST:PORT" help:"Where Envoys connect to Relay (default ${default})."`
	XDSCert      string   `group:"Server" name:"xds-cert" placeholder:"FILE" help:"PEM certificate (chain) that Relay shows to Envoys; read again when it changes."`
	XDSKey       string   `group:"Server" name:"xds-key" placeholder:"FILE" help:"Its private key."`
	XDSClientCA  string   `group:"Server" name:"xds-client-ca" placeholder:"FILE" help:"Envoys must show a certificate of these authorities."`
	XDSClients   []string `group:"Server" name:"xds-clients" placeholder:"NAME" help:"DNS names or URIs, one of which such a certificate must have (* for one label); for several fleets: clients in the configuration file."`
	XDSPlaintext bool     `group:"Server" name:"xds-insecure-plaintext-beyond-loopback" help:"Serve xDS without TLS on other addresses than loopback. Whoever reaches it gets the private keys of all certificates."`

	Admin           string         `group:"Server" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Where people, monitoring and marathon-acme connect to Relay (default ${default})."`
	AdminCert       string         `group:"Server" placeholder:"FILE" help:"PEM certificate (chain) of the admin endpoint; read again when it changes."`
	AdminKey        string         `group:"Server" placeholder:"FILE" help:"Its private key."`
	AdminClientCA   string         `group:"Server" name:"admin-client-ca" placeholder:"FILE" help:"Let in clients with a certificate of these authorities."`
	AdminTokenFile  string         `group:"Server" placeholder:"FILE" help:"Let in clients that show the token in this file; read again when it changes."`
	AdminOpen       bool           `group:"Server" name:"admin-insecure-open-beyond-loopback" help:"Serve the admin endpoint to everyone on other addresses than loopback."`
	SignalNetworks  []netip.Prefix `group:"Server" placeholder:"CIDR" help:"The hooks may be called from these networks without token or certificate: those of marathon-acme."`
	SignalAnyMethod bool           `group:"Server" help:"Let the hooks be called with any method, for scripts written for marathon-lb."`
	Pprof           bool           `group:"Server" help:"Offer Go's profiles under /debug/pprof/ on the admin endpoint."`

	LogLevel  string `group:"Server" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	LogFormat string `group:"Server" default:"text" enum:"text,json" help:"text or json."`

	// Fleets comes from the configuration file only.
	Fleets []FleetConfig `kong:"-"`

	// For tests.
	onMarathonEvent     func(eventType string)
	marathonIdleTimeout time.Duration
}

// FleetConfig is one fleet in the configuration file.
type FleetConfig struct {
	Name            string         `yaml:"name"`
	HTTP            netip.AddrPort `yaml:"http"`
	HTTPS           netip.AddrPort `yaml:"https"`
	HTTPSPublicPort uint16         `yaml:"https-public-port"`
	Clusters        string         `yaml:"clusters"`
	Certificates    string         `yaml:"certificates"`
	// ServerNames are those whose certificates the Envoys get; all when empty.
	ServerNames []string `yaml:"server-names"`
	TCP         string   `yaml:"tcp"`
	// Clients are as in --xds-clients.
	Clients       []string `yaml:"clients"`
	EdgeTLSConfig `yaml:",inline"`
}

// serverNames returns ServerNames as the collator takes them.
func (f FleetConfig) serverNames() (names []string, err error) {
	for _, name := range f.ServerNames {
		normal, bad := sources.NormalizeDomain(name)
		names, err = append(names, normal), errors.Join(err, bad)
	}
	return names, err
}

// onDemand is a value of Clusters and Certificates.
const onDemand = "on-demand"

// Validate says what is missing or does not go together, all of it at once.
func (c *Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case len(c.Marathon) == 0 && c.SourceFile == "":
		fail("no source of apps: give --marathon URL,... or --source-file PATH")
	case len(c.Marathon) > 0 && c.SourceFile != "":
		fail("two sources of apps: give --marathon or --source-file, not both")
	}
	for _, f := range c.fleets() {
		for option, value := range map[string]string{"clusters": f.Clusters, "certificates": f.Certificates} {
			if !slices.Contains([]string{"", "all", onDemand}, value) {
				fail("fleet %q has %s: %s: use all or %s", f.Name, option, value, onDemand)
			}
		}
		if !slices.Contains([]string{"", "labels", "all", "off"}, f.TCP) {
			fail("fleet %q has tcp: %s: use labels, all or off", f.Name, f.TCP)
		}
		if len(f.ServerNames) > 0 && !f.HTTPS.IsValid() {
			fail("fleet %q has server-names, but does not listen for HTTPS: give https", f.Name)
		}
		if _, err := f.serverNames(); err != nil {
			fail("fleet %q has server-names that are none: %w", f.Name, err)
		}
		if f.HTTPS.IsValid() && !c.hasCertificates() {
			fail("fleet %q listens for HTTPS without certificates: give --certs-dir or --vault-addr", f.Name)
		}
		errs = append(errs, f.validateTLS())
	}
	if c.hasVault() && c.VaultToken == "" && c.VaultTokenFile == "" && c.VaultRoleID == "" && c.VaultK8sRole == "" {
		fail("no way to log in to Vault: give --vault-token-file, --vault-role-id with --vault-secret-id-file, --vault-kubernetes-role, or VAULT_TOKEN in the environment")
	}
	for name, address := range map[string]string{"xds": c.XDS, "admin": c.Admin} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			fail("--%s %q is not HOST:PORT: %w", name, address, err)
		}
	}
	errs = append(errs, c.validateServers(), c.validateState(), c.validateTickets())
	if c.MarathonSyncInterval <= 0 || c.CertsPollInterval <= 0 {
		fail("--marathon-sync-interval and --certs-poll-interval must be positive")
	}
	return errors.Join(errs...)
}

func (c *Config) hasVault() bool { return len(c.VaultAddr) > 0 }

func (c *Config) hasDir() bool { return len(c.CertsDir) > 0 || c.CertsDefault != "" }

func (c *Config) hasCertificates() bool { return c.hasVault() || c.hasDir() }

// fleets returns those of the configuration file, or else the one of the flags.
func (c *Config) fleets() []FleetConfig {
	if len(c.Fleets) > 0 {
		return c.Fleets
	}
	return []FleetConfig{{Name: c.Fleet, HTTP: c.HTTP, HTTPS: c.HTTPS, HTTPSPublicPort: c.HTTPSPublicPort, Clusters: c.Clusters, Certificates: c.Certificates, TCP: c.TCP, Clients: c.XDSClients, EdgeTLSConfig: c.EdgeTLSConfig}}
}

func (c *Config) collatorConfig() collator.Config {
	options := routing.Options{
		StreamIdleTimeout: c.StreamIdleTimeout, RequestHeadersTimeout: c.RequestHeadersTimeout,
		ConnectTimeout: c.ConnectTimeout, UpstreamIdleTimeout: c.UpstreamIdleTimeout, Retries: c.Retries,
	}
	config := collator.Config{ACMEApp: c.ACMEApp}
	if c.hasDir() {
		config.CertificateSources = append(config.CertificateSources, "dir")
	}
	if c.hasVault() {
		config.CertificateSources = append(config.CertificateSources, "vault")
	}
	for _, f := range c.fleets() {
		port := f.HTTPSPublicPort
		if port == 0 {
			port = f.HTTPS.Port()
		}
		serverNames, _ := f.serverNames() // validated
		config.Fleets = append(config.Fleets, routing.Fleet{
			Name: f.Name, HTTP: f.HTTP, HTTPS: f.HTTPS, HTTPSPublicPort: port, Options: options, TLS: c.downstreamTLS(f),
			ClustersOnDemand: f.Clusters == onDemand, CertificatesOnDemand: f.Certificates == onDemand, ServerNames: serverNames, UpstreamCA: c.UpstreamCA,
			TCP: routing.TCPServices(f.TCP), ReservedPorts: c.reservedPorts(),
		})
	}
	return config
}

// reservedPorts are those of Relay too: it may share a machine with an Envoy.
func (c *Config) reservedPorts() []uint16 {
	ports := slices.Clone(c.TCPReservedPorts)
	for _, address := range []string{c.XDS, c.Admin} {
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
