package relay

import (
	"os"

	"relay/internal/files"
	"relay/internal/problem"
)

// SecretFile is a file of the configuration that holds a secret, and the flag
// that names it.
type SecretFile struct{ Flag, Path string }

// SecretFiles are all that are set, except those of certificate stores, which
// the stores look after, and what Kubernetes writes.
func (c *Config) SecretFiles() (all []SecretFile) {
	for _, f := range []SecretFile{
		{"xds-key", c.XDS.TLS.KeyFile}, {"admin-key", c.Admin.TLS.KeyFile}, {"admin-token-file", c.Admin.TokenFile}, {"status-page-key", c.StatusPage.TLS.KeyFile},
		{"state-key-file", c.State.KeyFile}, {"session-ticket-key-file", c.SessionTicketKeyFile},
		{"vault-token-file", c.Certificates.Vault.TokenFile}, {"vault-secret-id-file", c.Certificates.Vault.AppRole.SecretIDFile},
		{"marathon-password-file", c.Apps.Marathon.PasswordFile}, {"marathon-token-file", c.Apps.Marathon.TokenFile},
		{"marathon-service-account-file", c.Apps.Marathon.ServiceAccountFile}, {"marathon-client-key-file", c.Apps.Marathon.ClientKeyFile},
		{"log-syslog-key", c.Syslog.KeyFile},
		{"peers-token-file", c.Scaling.Peers.TokenFile}, {"scaling-marathon-password-file", c.Scaling.Marathon.Write.PasswordFile},
		{"scaling-marathon-token-file", c.Scaling.Marathon.Write.TokenFile}, {"scaling-marathon-service-account-file", c.Scaling.Marathon.Write.ServiceAccountFile},
	} {
		if f.Path != "" {
			all = append(all, f)
		}
	}
	return all
}

// exposedSecrets tell which of these files everyone on the machine can read.
func (c *Config) exposedSecrets() (problems []problem.Problem) {
	for _, f := range c.SecretFiles() {
		info, err := os.Stat(f.Path)
		if err != nil {
			continue
		}
		if reason := files.Exposed(absolute(f.Path), info.Mode()); reason != "" {
			problems = append(problems, problem.Problem{Kind: problem.Source, Severity: problem.Advice, Subject: f.Flag, Reason: reason, Action: "let only Relay's user read it"})
		}
	}
	return problems
}
