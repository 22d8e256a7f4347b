package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin"
	"relay/certs/vault"
	"relay/credentials"
	"relay/credentials/dir"
	"relay/credentials/reading"
	credentialsstate "relay/credentials/savedstate"
	"relay/internal/problem"
)

// Credentials says where the credentials come from that apps name; both may be used.
type Credentials struct {
	// Dir is used if it has a folder.
	Dir dir.Config
	// VaultPath is a path of KV version 2 in Vault, which is used if it is set.
	VaultPath string
	// Vault says where Vault is, and how to log in.
	Vault vault.Config
}

func (c Credentials) hasVault() bool { return c.VaultPath != "" }

func (c Credentials) validate() error {
	switch {
	case !c.hasVault():
		return nil
	case len(c.Vault.Addresses) == 0:
		return errors.New("--vault-credentials needs a Vault: give --vault-addr")
	}
	return vault.CheckCredentialsPath(c.VaultPath)
}

// sources are the names by which the stores call themselves.
func (c Credentials) sources() (names []string) {
	if c.Dir.Folder != "" {
		names = append(names, "dir")
	}
	if c.hasVault() {
		names = append(names, "vault")
	}
	return names
}

// credentialSource is Vault or a folder.
type credentialSource struct {
	store interface {
		Serve(context.Context) error
		Reload(context.Context) error
		Status() reading.Status
	}
	where string
}

// Serve runs the store.
func (c credentialSource) Serve(ctx context.Context) error { return c.store.Serve(ctx) }

// Reload returns when what there is now was read and handed on.
func (c credentialSource) Reload(ctx context.Context) error {
	if err := c.store.Reload(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.name(), err)
	}
	return nil
}

func (c credentialSource) name() string { return "credentials from " + c.store.Status().Source }

func (c credentialSource) view() admin.SourceView {
	s := c.store.Status()
	return admin.SourceView{
		Kind: s.Source, Name: "credentials in " + c.where, Connected: s.LastError == "" && !s.LastGoodRead.IsZero(),
		LastSync: s.LastGoodRead, LastError: s.LastError, Items: s.Credentials,
	}
}

func newCredentialSources(c Credentials, sink credentials.Sink, log *slog.Logger, registerer prometheus.Registerer) ([]credentialSource, error) {
	var all []credentialSource
	log = log.With("part", "credentials")
	if c.Dir.Folder != "" {
		source, err := dir.New(c.Dir, sink, log.With("source", "dir"), registerer)
		if err != nil {
			return nil, err
		}
		all = append(all, credentialSource{source, c.Dir.Folder})
	}
	if c.hasVault() {
		source, err := vault.NewCredentials(c.Vault, c.VaultPath, sink, log.With("source", "vault"), registerer)
		if err != nil {
			return nil, err
		}
		all = append(all, credentialSource{source, strings.Join(c.Vault.Addresses, ", ") + " path " + c.VaultPath})
	}
	return all, nil
}

// credentials returns what the stores of credentials are to feed. They are saved where private keys are, for they are
// as secret.
func (k *stateKeepers) credentials(next credentials.Sink) (credentials.Sink, error) {
	if k.config.State.Dir == "" || !k.config.State.Certificates {
		return next, nil
	}
	stores := make(credentialSinks)
	for _, source := range k.config.Credentials.sources() {
		settings := k.settings("credentials", source)
		settings.Label = "credentials-" + source
		sink, err := credentialsstate.New(settings, next, k.log, k.registerer)
		if err != nil {
			return nil, err
		}
		stores[source] = sink
		k.all = append(k.all, sink)
	}
	return stores, nil
}

// credentialSinks has a sink for each store, by its name.
type credentialSinks map[string]credentials.Sink

// SyncCredentials implements credentials.Sink.
func (s credentialSinks) SyncCredentials(source string, all []*credentials.Credential, problems []problem.Problem) {
	s[source].SyncCredentials(source, all, problems)
}
