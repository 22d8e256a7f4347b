package main

import (
	"os"

	"relay/admin"
	"relay/internal/files"
)

// secretFile is a file of the configuration that holds a secret.
type secretFile struct{ option, path string }

// secretFiles are all that are set, except those of certificate stores, which
// the stores look after, and what Kubernetes writes.
func (c *Config) secretFiles() (files []secretFile) {
	for _, f := range []secretFile{
		{"xds-key", c.XDSKey}, {"admin-key", c.AdminKey}, {"admin-token-file", c.AdminTokenFile},
		{"state-key-file", c.StateKeyFile}, {"session-ticket-key-file", c.SessionTicketKeyFile},
		{"vault-token-file", c.VaultTokenFile}, {"vault-secret-id-file", c.VaultSecretIDFile},
		{"marathon-password-file", c.MarathonPasswordFile}, {"marathon-token-file", c.MarathonTokenFile},
		{"marathon-service-account-file", c.MarathonServiceAccountFile}, {"marathon-client-key-file", c.MarathonClientKeyFile},
	} {
		if f.path != "" {
			files = append(files, f)
		}
	}
	return files
}

// exposedSecrets tell which of these files everyone on the machine can read.
func (c *Config) exposedSecrets() (views []admin.ProblemView) {
	for _, f := range c.secretFiles() {
		info, err := os.Stat(f.path)
		if err != nil {
			continue
		}
		if reason := files.Exposed(absolute(f.path), info.Mode()); reason != "" {
			views = append(views, admin.ProblemView{Kind: admin.ProblemSource, Subject: f.option, Reason: reason})
		}
	}
	return views
}
