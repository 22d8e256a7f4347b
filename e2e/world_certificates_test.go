package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
)

// certificates are what Relay has to serve: an authority, and the directory that
// Relay reads.
type certificates struct {
	t   *testing.T
	ca  *certstest.CA
	dir string
}

// put writes a certificate to a file below the certificate directory.
func (c *certificates) put(file string, names []string, options certstest.Options) {
	c.t.Helper()
	replace(c.t, filepath.Join(c.dir, file), c.ca.TestIssue(c.t, names, options).Bundle())
}

func (c *certificates) remove(file string) {
	c.t.Helper()
	if err := os.Remove(filepath.Join(c.dir, file)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *certificates) publish(m *vaulttest.Mount, names ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := m.Publish(ctx, names[0], c.ca.TestIssue(c.t, names, certstest.Options{})); err != nil {
		c.t.Fatal(err)
	}
}

// fill publishes a certificate for a.test in a Vault, and writes a token that reads
// it to a file.
func (c *certificates) fill(ctx context.Context, server *vaulttest.Server, tokenFile string) {
	c.t.Helper()
	mount, err := server.Mount(ctx, "secret")
	if err != nil {
		c.t.Fatal(err)
	}
	token, err := mount.ReaderToken(ctx, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	c.publish(mount, "a.test")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// issueUnnoticed writes a certificate for a.test where the file system reports
// nothing to who watches the directory: behind a link.
func (c *certificates) issueUnnoticed() {
	c.t.Helper()
	target := filepath.Join(filepath.Dir(c.dir), "elsewhere", "a.test.pem")
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		c.t.Fatal(err)
	}
	replace(c.t, target, c.ca.TestIssue(c.t, []string{"a.test"}, certstest.Options{}).Bundle())
	if err := os.Symlink(target, filepath.Join(c.dir, "a.test.pem")); err != nil && !errors.Is(err, fs.ErrExist) {
		c.t.Fatal(err)
	}
}

// write replaces a file of the certificate directory in one step.
func (c *certificates) write(name string, data []byte) {
	c.t.Helper()
	replace(c.t, filepath.Join(c.dir, name), data)
}

// issue writes a certificate for the names to the directory.
func (c *certificates) issue(names ...string) *certstest.Issued {
	c.t.Helper()
	issued := c.ca.TestIssue(c.t, names, certstest.Options{})
	c.write(names[0]+".pem", issued.Bundle())
	return issued
}

// clientOf returns what a client needs that shows a certificate of an authority.
func (c *certificates) clientOf(ca *certstest.CA, o certstest.Options) *tls.Config {
	c.t.Helper()
	issued := ca.TestIssue(c.t, []string{"one.edge.test"}, o)
	own, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	config := c.ca.ClientTLS()
	config.ServerName, config.Certificates, config.NextProtos = "relay.test", []tls.Certificate{own}, []string{"h2"}
	return config
}

// replace puts a file in the place of another.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
