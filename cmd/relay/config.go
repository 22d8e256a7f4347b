package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	"relay/certs/dir"
	"relay/certs/vault"
	"relay/collator/routing"
	credentialsdir "relay/credentials/dir"
	"relay/internal/ignored"
	"relay/internal/problem"
	"relay/internal/relay"
	"relay/internal/secret"
)

// Flags are everything that can be set: by flag, by environment variable
// (RELAY_ and the flag's name in capitals with underscores) or in the YAML file
// (the flag's name). A flag beats the environment, which beats the file.
type Flags struct {
	MarathonFlags `embed:""`
	LabelFlags    `embed:""`

	SourceFile string `group:"Applications" placeholder:"PATH" help:"Read apps from this YAML file, or from the YAML files in this folder, in place of Marathon."`
	ACMEApp    string `group:"Applications" name:"acme-app" default:"/marathon-acme" help:"The app whose port 0 answers ACME challenges."`

	Fleet           string         `group:"Fleet" help:"The group of the one fleet: apps name it in HAPROXY_GROUP, Envoys in node.cluster. For several fleets use the configuration file." default:"external"`
	HTTP            netip.AddrPort `group:"Fleet" name:"http" placeholder:"IP:PORT" default:"0.0.0.0:80" help:"Where the fleet's Envoys listen for HTTP (default ${default})."`
	HTTPS           netip.AddrPort `group:"Fleet" name:"https" placeholder:"IP:PORT" help:"Where they listen for HTTPS. Needs certificates."`
	HTTPSPublicPort uint16         `group:"Fleet" name:"https-public-port" placeholder:"PORT" help:"The port in redirects to HTTPS, where clients see another one than Envoy, or a trusted proxy ends their TLS. Default: that of --https."`

	ProxyFlags         `embed:""`
	DownstreamTLSFlags `embed:""`

	SessionTicketKeyFile string `group:"Fleet" placeholder:"FILE" help:"File with a secret of 32 bytes, as they are, in hex or in base64, by which all Envoys of a fleet resume each other's TLS sessions; the same for all Relays, and read again when it changes. Without it each Envoy resumes its own."`

	Clusters string `group:"Fleet" default:"all" enum:"all,on-demand" help:"on-demand: Envoys load the cluster of an app when a request needs it. For tens of thousands of apps, most of them idle. Their bootstrap needs --clusters on-demand too."`

	Certificates string `group:"Fleet" name:"certificates" default:"all" enum:"all,on-demand" help:"on-demand: Envoys load a certificate when a client asks for its name. For thousands of certificates; TLS sessions are not resumed then."`

	TCP              string   `group:"Fleet" name:"tcp" default:"labels" enum:"labels,all,off" help:"Which TCP services the Envoys open: those that labels ask for, all service ports of apps that are not HTTP (as marathon-lb does), or none (off)."`
	TCPReservedPorts []uint16 `group:"Fleet" name:"tcp-reserved-ports" default:"80,443,9901" placeholder:"PORT" help:"Ports that TCP services never get, such as those of the web and of Envoy's admin endpoint (default ${default}). Those of HTTP, HTTPS and Relay itself are kept anyway."`

	StreamIdleTimeout     time.Duration `group:"Requests" default:"1h" help:"A request or WebSocket on which nothing moves for so long is ended; 0: never."`
	ClientIdleTimeout     time.Duration `group:"Requests" default:"15m" help:"A client's connection without any request is closed after this. Keep it above what a balancer before Envoy has; 0: never."`
	RequestHeadersTimeout time.Duration `group:"Requests" default:"15s" help:"How long a client may take to send a request's head; 0: for ever."`
	ConnectTimeout        time.Duration `group:"Requests" default:"3s" help:"How long connecting to a task may take."`
	UpstreamIdleTimeout   time.Duration `group:"Requests" default:"4s" help:"Unused connections to tasks are closed after this. Keep it below the keep-alive of your apps; 0: never."`
	Retries               uint32        `group:"Requests" default:"2" help:"How often a request that cannot have reached a task is sent to another one."`

	UpstreamCA    kong.FileContentFlag `group:"Requests" name:"upstream-ca" placeholder:"FILE" help:"PEM file with the authorities of tasks that take TLS (RELAY_{n}_TLS). Read at start."`
	ExternalFlags `embed:""`

	ScalingFlags `embed:""`
	VisitorFlags `embed:""`
	ProbeFlags   `embed:""`

	GraphiteFlags   `embed:""`
	StatusPageFlags `embed:""`

	CertsDir          []string      `group:"Certificates" placeholder:"PATH" help:"PEM files and directories of them."`
	CertsDefault      string        `group:"Certificates" placeholder:"FILE" help:"PEM file for clients that ask for no name, or an unknown one."`
	CertsPollInterval time.Duration `group:"Certificates" default:"60s" help:"Time between two looks at the certificates without being told of a change."`
	CertsGrace        time.Duration `group:"Certificates" default:"10s" help:"How long plain HTTP waits for a certificate store that cannot be read at start."`
	VaultAddr         []string      `group:"Certificates" placeholder:"URL" env:"RELAY_VAULT_ADDR,VAULT_ADDR" help:"Vault's addresses."`
	VaultMount        string        `group:"Certificates" default:"secret" help:"The KV version 2 mount that marathon-acme writes to, with a path prefix if there is one; off for a Vault that has credentials alone."`
	VaultToken        secret.String `group:"Certificates" placeholder:"TOKEN" env:"RELAY_VAULT_TOKEN,VAULT_TOKEN" help:"Vault token. Better: a file, or the environment."`
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

	CredentialsDir   string `group:"Credentials" placeholder:"PATH" help:"Folder with the credentials that apps name: the file shop/web/oidc is the credential oidc of the app /shop/web."`
	VaultCredentials string `group:"Credentials" placeholder:"PATH" help:"Path in Vault (KV version 2) with the credentials that apps name, each the field value of an entry."`

	StateDir          string        `group:"State" placeholder:"PATH" help:"Save there what was served, for a start at which Marathon or Vault cannot be read. One directory for each Relay."`
	StateGrace        time.Duration `group:"State" default:"10s" help:"How long a source may take at start before its saved state is served in its place."`
	StateCertificates string        `group:"State" default:"off" enum:"off,encrypted" help:"Save certificates, their private keys, and credentials too, encrypted by --state-key-file."`
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

	LogFlags `embed:""`

	// Fleets comes from the configuration file only.
	Fleets []FleetSettings `kong:"-"`

	warnings []problem.Problem
}

// FleetSettings is one fleet in the configuration file.
type FleetSettings struct {
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
	Clients            []string `yaml:"clients"`
	ProxyFlags         `yaml:",inline"`
	VisitorFlags       `yaml:",inline"`
	DownstreamTLSFlags `yaml:",inline"`
}

// DownstreamTLSFlags say how the https listener of a fleet meets clients: flags for
// the one fleet, and keys of each fleet in the configuration file.
type DownstreamTLSFlags struct {
	TLSMinVersion      string `group:"Fleet" name:"tls-min-version" default:"1.2" enum:"1.2,1.3" yaml:"tls-min-version" help:"The least version of TLS that clients of HTTPS may use: 1.2 or 1.3."`
	ClientCA           string `group:"Fleet" name:"client-ca" placeholder:"FILE" yaml:"client-ca" help:"PEM file with the authorities of the certificates that clients of HTTPS show; read again when it changes."`
	ClientCertificates string `group:"Fleet" default:"off" enum:"off,optional,required" yaml:"client-certificates" help:"Whether clients of HTTPS show a certificate: never asked for (off), asked for (optional), or refused without (required), with plain HTTP redirected to HTTPS. Apps find it in X-Forwarded-Client-Cert."`
}

// onDemand is a value of Clusters and Certificates.
const onDemand = "on-demand"

// Validate says what is missing or does not go together, all of it at once.
func (f *Flags) Validate(kctx *kong.Context) error {
	var errs []error
	f.warnings = settingsWarnings(kctx)
	if len(f.Fleets) > 0 {
		errs = append(errs, misplaced(kctx))
	}
	for _, fleet := range f.fleets() {
		for option, value := range map[string]string{"clusters": fleet.Clusters, "certificates": fleet.Certificates} {
			if !slices.Contains([]string{"", "all", onDemand}, value) {
				errs = append(errs, fmt.Errorf("fleet %q has %s: %s: use all or %s", fleet.Name, option, value, onDemand))
			}
		}
	}
	for _, fleet := range f.fleets() {
		if _, err := routing.ParseAccessLog(fleet.AccessLog); err != nil {
			errs = append(errs, fmt.Errorf("fleet %q has access-log: %s: %w", fleet.Name, fleet.AccessLog, err))
		}
	}
	if f.MarathonSyncInterval <= 0 || f.CertsPollInterval <= 0 {
		errs = append(errs, errors.New("--marathon-sync-interval and --certs-poll-interval must be positive"))
	}
	if _, err := ignored.Parse(f.IdleIgnore); err != nil {
		errs = append(errs, fmt.Errorf("--idle-ignore: %w", err))
	}
	if _, err := f.traefikOptions(f.fleets()); err != nil {
		errs = append(errs, err)
	}
	config := f.config()
	return errors.Join(append(errs, config.Validate())...)
}

// fleets returns those of the configuration file, or else the one of the flags.
func (f *Flags) fleets() []FleetSettings {
	if len(f.Fleets) > 0 {
		return f.Fleets
	}
	return []FleetSettings{{
		Name: f.Fleet, HTTP: f.HTTP, HTTPS: f.HTTPS, HTTPSPublicPort: f.HTTPSPublicPort,
		Clusters: f.Clusters, Certificates: f.Certificates, TCP: f.TCP, Clients: f.XDSClients,
		ProxyFlags: f.ProxyFlags, VisitorFlags: f.VisitorFlags, DownstreamTLSFlags: f.DownstreamTLSFlags,
	}}
}

// withEnvironment is config, with what Vault's own tools read from the
// environment.
func (f *Flags) withEnvironment() (relay.Config, error) {
	config := f.config()
	if len(f.VaultAddr) == 0 {
		return config, nil // what the environment says is for other programs
	}
	var err error
	config.Certificates.Vault, err = config.Certificates.Vault.WithEnvironment(os.Getenv)
	config.Credentials.Vault = config.Certificates.Vault
	return config, err
}

// config is what the flags make of the program.
func (f *Flags) config() relay.Config {
	config := relay.Config{
		Version:              version(),
		Warnings:             f.warnings,
		Apps:                 relay.Apps{Marathon: f.marathonConfig(), File: f.SourceFile, ACME: f.ACMEApp},
		Certificates:         relay.Certificates{Dir: f.dirConfig(), Vault: f.vaultConfig(), Grace: f.CertsGrace},
		Credentials:          relay.Credentials{Dir: credentialsdir.Config{Folder: f.CredentialsDir, PollInterval: f.CertsPollInterval}, VaultPath: f.VaultCredentials, Vault: f.vaultConfig()},
		State:                relay.State{Dir: f.StateDir, Grace: f.StateGrace, Certificates: f.StateCertificates == "encrypted", KeyFile: f.StateKeyFile},
		SessionTicketKeyFile: f.SessionTicketKeyFile,
		Scaling:              f.scalingConfig(f.marathonConfig()),
		Graphite:             f.graphiteConfig(),
		Syslog:               f.syslogConfig(),
		Probes:               f.probesConfig(),
		StatusPage:           f.statusPageConfig(),
		XDS: relay.XDSPort{
			Address: f.XDS, TLS: relay.PortTLS{CertFile: f.XDSCert, KeyFile: f.XDSKey, ClientCAFile: f.XDSClientCA}, Plaintext: f.XDSPlaintext,
		},
		Admin: relay.AdminPort{
			Address: f.Admin, TLS: relay.PortTLS{CertFile: f.AdminCert, KeyFile: f.AdminKey, ClientCAFile: f.AdminClientCA},
			TokenFile: f.AdminTokenFile, Open: f.AdminOpen, HookNetworks: f.SignalNetworks, AnyMethod: f.SignalAnyMethod, Pprof: f.Pprof,
		},
	}
	config.Apps.Marathon.Traefik, _ = f.traefikOptions(f.fleets()) // validated
	for _, fleet := range f.fleets() {
		config.Fleets = append(config.Fleets, f.fleetConfig(fleet))
	}
	return config
}

func (f *Flags) fleetConfig(fleet FleetSettings) relay.Fleet {
	accessLog, _ := routing.ParseAccessLog(fleet.AccessLog) // validated
	return relay.Fleet{ClientCAFile: fleet.ClientCA, ErrorPagesDir: fleet.ErrorPages, Clients: fleet.Clients, Fleet: routing.Fleet{
		Name: fleet.Name, HTTP: fleet.HTTP, HTTPS: fleet.HTTPS, HTTPSPublicPort: fleet.HTTPSPublicPort,
		Proxies: fleet.proxies(), Health: fleet.Health,
		TLS: routing.DownstreamTLS{
			MinVersion: routing.TLSVersion(fleet.TLSMinVersion), ClientCertificates: routing.ClientCertificates(fleet.ClientCertificates),
		},
		ClustersOnDemand: fleet.Clusters == onDemand, CertificatesOnDemand: fleet.Certificates == onDemand,
		ServerNames: fleet.ServerNames, UpstreamCA: f.UpstreamCA, ExternalCA: f.externalCA(), ExternalHosts: f.ExternalHosts, ExtendedConnect: fleet.ExtendedConnect, Faults: fleet.Faults, Redis: fleet.Redis, RateLimitService: fleet.RateLimitService, AccessLog: accessLog, TCP: routing.TCPServices(fleet.TCP), ReservedPorts: f.TCPReservedPorts,
		Options: routing.Options{
			StreamIdleTimeout: f.StreamIdleTimeout, ClientIdleTimeout: f.ClientIdleTimeout, RequestHeadersTimeout: f.RequestHeadersTimeout,
			ConnectTimeout: f.ConnectTimeout, UpstreamIdleTimeout: f.UpstreamIdleTimeout, Retries: f.Retries,
		},
	}}
}

func (f *Flags) dirConfig() dir.Config {
	return dir.Config{Paths: f.CertsDir, Default: f.CertsDefault, PollInterval: f.CertsPollInterval}
}

func (f *Flags) vaultConfig() vault.Config {
	return vault.Config{
		Addresses: f.VaultAddr, Mount: f.VaultMount, Namespace: f.VaultNamespace,
		Token: f.VaultToken, TokenFile: f.VaultTokenFile, CACert: f.VaultCAFile,
		AppRole:    vault.AppRole{RoleID: f.VaultRoleID, SecretIDFile: f.VaultSecretIDFile, Mount: f.VaultAppRoleMount},
		Kubernetes: vault.Kubernetes{Role: f.VaultK8sRole, TokenFile: f.VaultK8sTokenFile, Mount: f.VaultK8sMount},
		Default:    f.VaultDefault, PollInterval: f.CertsPollInterval,
	}
}
