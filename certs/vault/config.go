package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"relay/internal/secret"
)

const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 15 * time.Second
)

// Config says where Vault is and how to log in. Of AppRole, Kubernetes,
// TokenFile and Token the first one that is set is used.
type Config struct {
	// Addresses are the base URLs of one Vault cluster's nodes. A node that
	// fails or is a sealed or lagging replica is passed over for the next.
	// Default: https://127.0.0.1:8200.
	Addresses []string
	// Mount is the KV version 2 mount, or a path below it; default "secret".
	Mount string
	// Namespace is the Vault Enterprise namespace; Mount is relative to it.
	Namespace string

	Token secret.String
	// TokenFile is read again before every read of the store, as Vault Agent
	// rewrites it.
	TokenFile  string
	AppRole    AppRole
	Kubernetes Kubernetes

	// CACert and CAPath are files of CA certificates, ClientCert and ClientKey
	// the pair shown to Vault; all PEM.
	CACert, CAPath, ClientCert, ClientKey string
	// CACertPEM holds CA certificates itself; CACert beats it.
	CACertPEM string
	// TLSServerName is expected in Vault's certificate instead of the host.
	TLSServerName string
	// SkipVerify accepts any certificate of Vault.
	SkipVerify bool

	// Default is the live entry for clients without a known server name.
	Default string
	// PollInterval is the mean time between two reads; each is up to 20 %
	// shorter or longer. 60 s when zero.
	PollInterval time.Duration

	// dial replaces the network in tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// WithEnvironment fills what is not set from the variables that Vault's own
// tools read: VAULT_ADDR (a comma-separated list is taken), VAULT_TOKEN,
// VAULT_NAMESPACE, VAULT_CACERT, VAULT_CACERT_BYTES, VAULT_CAPATH,
// VAULT_CLIENT_CERT, VAULT_CLIENT_KEY, VAULT_TLS_SERVER_NAME and
// VAULT_SKIP_VERIFY.
func (c Config) WithEnvironment(getenv func(string) string) (Config, error) {
	if value := getenv("VAULT_ADDR"); len(c.Addresses) == 0 && value != "" {
		c.Addresses = strings.Split(value, ",")
	}
	if c.Token == "" {
		c.Token = secret.String(getenv("VAULT_TOKEN"))
	}
	for name, field := range map[string]*string{
		"VAULT_NAMESPACE":       &c.Namespace,
		"VAULT_CACERT":          &c.CACert,
		"VAULT_CACERT_BYTES":    &c.CACertPEM,
		"VAULT_CAPATH":          &c.CAPath,
		"VAULT_CLIENT_CERT":     &c.ClientCert,
		"VAULT_CLIENT_KEY":      &c.ClientKey,
		"VAULT_TLS_SERVER_NAME": &c.TLSServerName,
	} {
		if *field == "" {
			*field = getenv(name)
		}
	}
	if value := getenv("VAULT_SKIP_VERIFY"); value != "" && !c.SkipVerify {
		skip, err := strconv.ParseBool(value)
		if err != nil {
			return c, fmt.Errorf("VAULT_SKIP_VERIFY is %q: use true or false", value)
		}
		c.SkipVerify = skip
	}
	return c, nil
}

// withDefaults completes a configuration, or says what is wrong with it.
func (c Config) withDefaults() (Config, []*url.URL, error) {
	if len(c.Addresses) == 0 {
		c.Addresses = []string{"https://127.0.0.1:8200"}
	}
	if c.Mount = strings.Trim(c.Mount, "/"); c.Mount == "" {
		c.Mount = "secret"
	}
	if c.PollInterval == 0 {
		c.PollInterval = time.Minute
	}
	if !c.logsIn() && c.TokenFile == "" && c.Token == "" {
		return c, nil, errors.New("no way to log in: give --vault-role-id, --vault-kubernetes-role, --vault-token-file or --vault-token (VAULT_TOKEN)")
	}
	if c.AppRole.RoleID != "" && c.AppRole.SecretID == "" && c.AppRole.SecretIDFile == "" {
		return c, nil, errors.New("--vault-role-id has neither a secret id nor a file with one: give --vault-secret-id-file")
	}
	var addresses []*url.URL
	for _, text := range c.Addresses {
		address, err := parseAddress(strings.TrimSpace(text))
		if err != nil {
			return c, nil, err
		}
		addresses = append(addresses, address)
	}
	return c, addresses, nil
}

// parseAddress repeats nothing before an "@" in errors: it may be a password.
func parseAddress(text string) (*url.URL, error) {
	address, err := url.Parse(text)
	if err != nil {
		return nil, notURL(text)
	}
	switch {
	case address.User != nil:
		return nil, fmt.Errorf("--vault-addr: the address of %s has a user name in it: Vault does not use one", address.Host)
	case address.Scheme != "http" && address.Scheme != "https" || address.Host == "":
		return nil, notURL(text)
	}
	address.Path = strings.TrimSuffix(address.Path, "/")
	return address, checkPath(address)
}

// newAPIClient makes a Vault client that sends through the failover transport
// and leaves retries to the reader. Nothing comes from the environment.
func newAPIClient(c Config, addresses []*url.URL) (*api.Client, *failover, error) {
	base := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: concurrency,
		IdleConnTimeout:     90 * time.Second,
	}
	if c.dial != nil {
		base.Proxy, base.DialContext = nil, c.dial
	}
	settings := &api.Config{
		Address:          addresses[0].String(),
		HttpClient:       &http.Client{Transport: base},
		DisableRedirects: true,
		CheckRetry:       func(context.Context, *http.Response, error) (bool, error) { return false, nil },
	}
	err := settings.ConfigureTLS(&api.TLSConfig{
		CACert: c.CACert, CACertBytes: []byte(c.CACertPEM), CAPath: c.CAPath, ClientCert: c.ClientCert, ClientKey: c.ClientKey,
		TLSServerName: c.TLSServerName, Insecure: c.SkipVerify,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("set up TLS: %w", err)
	}
	transport := &failover{base: base, addresses: addresses}
	settings.HttpClient.Transport = transport
	settings.HttpClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client, err := api.NewClient(settings)
	if err != nil {
		return nil, nil, err
	}
	client.SetToken("")
	client.ClearNamespace()
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return client, transport, nil
}
