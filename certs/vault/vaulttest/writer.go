package vaulttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"relay/certs/certstest"
)

// Mount is one KV version 2 mount of a Server.
type Mount struct {
	// Path is where it is mounted.
	Path   string
	client *api.Client
}

// Mount makes a new mount, so that tests that share a Server do not share what
// is in it. An existing one is taken as it is.
func (s *Server) Mount(ctx context.Context, path string) (*Mount, error) {
	m := &Mount{Path: path, client: s.client}
	mounts, err := s.client.Sys().ListMountsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	if mounts[path+"/"] == nil {
		err := s.client.Sys().MountWithContext(ctx, path, &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", path, err)
		}
	}
	// A new mount refuses requests while it sets up its storage.
	for {
		_, err := s.client.Logical().ReadWithContext(ctx, path+"/config")
		if err == nil {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the mount %s: %w", path, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Publish stores a certificate as marathon-acme does: the entry first, then
// its version in "live", which it only ever raises. It returns the version.
func (m *Mount) Publish(ctx context.Context, name string, issued *certstest.Issued) (int, error) {
	version, err := m.WriteCertificate(ctx, name, issued)
	if err != nil {
		return 0, err
	}
	entry, err := LiveEntry(version, issued)
	if err != nil {
		return 0, err
	}
	return version, m.updateLive(ctx, func(live map[string]any) bool {
		if old, ok := live[name].(string); ok {
			var stored struct{ Version int }
			if json.Unmarshal([]byte(old), &stored) == nil && stored.Version >= version {
				return false
			}
		}
		live[name] = entry
		return true
	})
}

// PublishAll stores many certificates by name and then all their versions in
// "live" at once; marathon-acme would write "live" for each.
func (m *Mount) PublishAll(ctx context.Context, all map[string]*certstest.Issued) error {
	var (
		group   sync.WaitGroup
		mu      sync.Mutex
		errs    []error
		entries = make(map[string]any)
		names   = make(chan string)
	)
	for range 8 {
		group.Go(func() {
			for name := range names {
				entry := ""
				version, err := m.WriteCertificate(ctx, name, all[name])
				if err == nil {
					entry, err = LiveEntry(version, all[name])
				}
				mu.Lock()
				entries[name] = entry
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	for name := range all {
		names <- name
	}
	close(names)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return m.updateLive(ctx, func(live map[string]any) bool { maps.Copy(live, entries); return true })
}

// WriteCertificate stores the entry of a certificate and leaves "live" alone.
func (m *Mount) WriteCertificate(ctx context.Context, name string, issued *certstest.Issued) (int, error) {
	return m.WriteEntry(ctx, name, map[string]any{
		"privkey": string(issued.Key),
		"cert":    string(issued.Leaf),
		"chain":   string(issued.Chain),
	})
}

// WriteEntry stores any fields as a certificate's entry.
func (m *Mount) WriteEntry(ctx context.Context, name string, fields map[string]any) (int, error) {
	secret, err := m.client.KVv2(m.Path).Put(ctx, "certificates/"+name, fields)
	if err != nil {
		return 0, fmt.Errorf("write the certificate %s: %w", name, err)
	}
	return secret.VersionMetadata.Version, nil
}

// WriteAuthority stores an authority of clients with its revocation lists, in PEM. Without lists it
// has no field for them.
func (m *Mount) WriteAuthority(ctx context.Context, name string, certificates, lists []byte) error {
	fields := map[string]any{"certificates": string(certificates)}
	if lists != nil {
		fields["crl"] = string(lists)
	}
	if _, err := m.client.KVv2(m.Path).Put(ctx, "authorities/"+name, fields); err != nil {
		return fmt.Errorf("write the authority %s: %w", name, err)
	}
	return nil
}

// LiveEntry is the value that marathon-acme stores in "live": JSON in a string.
func LiveEntry(version int, issued *certstest.Issued) (string, error) {
	entry, err := json.Marshal(map[string]any{
		"version":     version,
		"fingerprint": issued.Fingerprint,
		"dns_names":   issued.DNSNames,
	})
	if err != nil {
		return "", fmt.Errorf("encode a live entry: %w", err)
	}
	return string(entry), nil
}

// SetLive sets one value of "live" to anything, or removes it when it is nil.
func (m *Mount) SetLive(ctx context.Context, name string, value any) error {
	return m.updateLive(ctx, func(live map[string]any) bool {
		if value == nil {
			delete(live, name)
		} else {
			live[name] = value
		}
		return true
	})
}

// updateLive changes "live" by check-and-set until no other writer interferes.
func (m *Mount) updateLive(ctx context.Context, change func(map[string]any) bool) error {
	for {
		live, version := map[string]any{}, 0
		secret, err := m.client.KVv2(m.Path).Get(ctx, "live")
		switch {
		case errors.Is(err, api.ErrSecretNotFound):
		case err != nil:
			return fmt.Errorf("read live: %w", err)
		default:
			version = secret.VersionMetadata.Version
			if secret.Data != nil {
				live = secret.Data
			}
		}
		if !change(live) {
			return nil
		}
		_, err = m.client.KVv2(m.Path).Put(ctx, "live", live, api.WithCheckAndSet(version))
		var refused *api.ResponseError
		if errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest {
			continue
		}
		if err != nil {
			return fmt.Errorf("write live: %w", err)
		}
		return nil
	}
}

// Delete marks versions of an entry ("live", "certificates/a.test") as deleted.
func (m *Mount) Delete(ctx context.Context, path string, versions ...int) error {
	if err := m.client.KVv2(m.Path).DeleteVersions(ctx, path, versions); err != nil {
		return fmt.Errorf("delete versions of %s: %w", path, err)
	}
	return nil
}

// Destroy removes the data of versions of an entry for good.
func (m *Mount) Destroy(ctx context.Context, path string, versions ...int) error {
	if err := m.client.KVv2(m.Path).Destroy(ctx, path, versions); err != nil {
		return fmt.Errorf("destroy versions of %s: %w", path, err)
	}
	return nil
}

// DeleteAll removes an entry with all its versions, as if it had never been.
func (m *Mount) DeleteAll(ctx context.Context, path string) error {
	if err := m.client.KVv2(m.Path).DeleteMetadata(ctx, path); err != nil {
		return fmt.Errorf("delete %s: %w", path, err)
	}
	return nil
}

// Reader makes the policy that Relay needs at least on this mount, and returns
// its name.
func (m *Mount) Reader(ctx context.Context) (policy string, err error) {
	policy = "relay-" + strings.ReplaceAll(m.Path, "/", "-")
	rules := fmt.Sprintf(`
path "%[1]s/data/live"            { capabilities = ["read"] }
path "%[1]s/data/certificates/*"  { capabilities = ["read"] }
path "%[1]s/metadata/authorities" { capabilities = ["list"] }
path "%[1]s/data/authorities/*"   { capabilities = ["read"] }
path "auth/token/lookup-self"     { capabilities = ["read"] }
path "auth/token/renew-self"      { capabilities = ["update"] }
`, m.Path)
	if err := m.client.Sys().PutPolicyWithContext(ctx, policy, rules); err != nil {
		return "", fmt.Errorf("write the policy %s: %w", policy, err)
	}
	return policy, nil
}

// ReaderToken makes a token that may read this mount and lives for ttl unless
// it is renewed.
func (m *Mount) ReaderToken(ctx context.Context, ttl time.Duration) (string, error) {
	policy, err := m.Reader(ctx)
	if err != nil {
		return "", err
	}
	secret, err := m.client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{
		Policies: []string{policy}, TTL: ttl.String(),
	})
	if err != nil {
		return "", fmt.Errorf("create a token: %w", err)
	}
	return secret.Auth.ClientToken, nil
}

// AppRole makes a role whose tokens may read this mount and live for ttl
// unless they are renewed.
func (m *Mount) AppRole(ctx context.Context, ttl time.Duration) (roleID, secretID string, err error) {
	policy, err := m.Reader(ctx)
	if err != nil {
		return "", "", err
	}
	methods, err := m.client.Sys().ListAuthWithContext(ctx)
	if err != nil {
		return "", "", fmt.Errorf("list authentication methods: %w", err)
	}
	if methods["approle/"] == nil {
		if err := m.client.Sys().EnableAuthWithOptionsWithContext(ctx, "approle", &api.EnableAuthOptions{Type: "approle"}); err != nil {
			return "", "", fmt.Errorf("enable AppRole: %w", err)
		}
	}
	role := "auth/approle/role/" + policy
	if _, err := m.client.Logical().WriteWithContext(ctx, role, map[string]any{
		"token_policies": policy, "token_ttl": ttl.String(),
	}); err != nil {
		return "", "", fmt.Errorf("make the role: %w", err)
	}
	id, err := m.client.Logical().ReadWithContext(ctx, role+"/role-id")
	if err != nil {
		return "", "", fmt.Errorf("read the role's id: %w", err)
	}
	secret, err := m.client.Logical().WriteWithContext(ctx, role+"/secret-id", nil)
	if err != nil {
		return "", "", fmt.Errorf("make a secret id: %w", err)
	}
	roleID, _ = id.Data["role_id"].(string)
	secretID, _ = secret.Data["secret_id"].(string)
	return roleID, secretID, nil
}
