package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/internal/testbed"
)

// domains are the certificates of the demo: the names of each, by the name it
// is stored as.
var domains = map[string][]string{
	"web.test":     {"web.test", "www.web.test"},
	"shop.test":    {"shop.test"},
	"tenants.test": {"*.tenants.test"},
}

// store is where certificates are kept.
type store interface {
	put(ctx context.Context, name string, issued *certstest.Issued) error
	// flags tell Relay where the certificates are.
	flags() []string
}

// directory keeps certificates as marathon-acme does without Vault.
type directory struct{ testbed.CertificateDirectory }

func (d directory) flags() []string { return []string{"--certs-dir", string(d.CertificateDirectory)} }

func (d directory) put(_ context.Context, name string, issued *certstest.Issued) error {
	return d.Put(name, issued)
}

// vault keeps certificates as marathon-acme does with Vault.
type vault struct {
	server    *vaulttest.Server
	mount     *vaulttest.Mount
	tokenFile string
}

// startVault runs a Vault and makes a token that may read certificates and
// nothing else.
func startVault(ctx context.Context, dir string) (*vault, error) {
	server, err := vaulttest.Run(ctx)
	if err != nil {
		return nil, err
	}
	v := &vault{server: server, tokenFile: filepath.Join(dir, "vault-token")}
	if v.mount, err = server.Mount(ctx, "secret"); err == nil {
		var token string
		if token, err = v.mount.ReaderToken(ctx, 24*time.Hour); err == nil {
			err = os.WriteFile(v.tokenFile, []byte(token), 0o600)
		}
	}
	if err != nil {
		server.Stop()
		return nil, err
	}
	return v, nil
}

func (v *vault) flags() []string {
	return []string{"--vault-addr", v.server.Addr, "--vault-token-file", v.tokenFile}
}

func (v *vault) put(ctx context.Context, name string, issued *certstest.Issued) error {
	_, err := v.mount.Publish(ctx, name, issued)
	return err
}

// issuer is in place of marathon-acme: it makes certificates and stores them.
type issuer struct {
	ca    *certstest.CA
	store store
}

func (i *issuer) issue(ctx context.Context, name string) (*certstest.Issued, error) {
	issued, err := i.ca.Issue(domains[name], certstest.Options{NotBefore: time.Now().Add(-time.Second)})
	if err != nil {
		return nil, err
	}
	return issued, i.store.put(ctx, name, issued)
}

// renew answers POST /renew/DOMAIN, and names the hook to call then.
func (i *issuer) renew(hook string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if domains[name] == nil {
			http.Error(w, "there are certificates for "+strings.Join(certificateNames(), ", "), http.StatusNotFound)
			return
		}
		issued, err := i.issue(r.Context(), name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "stored a new certificate for %s, fingerprint %.16s...\ntell Relay: curl -i -X POST %s\n",
			strings.Join(issued.DNSNames, ", "), issued.Fingerprint, hook)
	}
}

func certificateNames() []string {
	var names []string
	for name := range domains {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
