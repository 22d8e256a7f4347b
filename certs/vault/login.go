package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"relay/internal/files"
	"relay/internal/secret"
)

// AppRole is a login by role id and secret id; it is used when RoleID is set.
// See https://developer.hashicorp.com/vault/docs/auth/approle.
type AppRole struct {
	RoleID   string
	SecretID secret.String
	// SecretIDFile is read at every login, when SecretID is empty.
	SecretIDFile string
	// Mount is where the method is mounted; default "approle".
	Mount string
}

// Kubernetes is a login by the service account of Relay's pod; it is used when
// Role is set. See https://developer.hashicorp.com/vault/docs/auth/kubernetes.
type Kubernetes struct {
	// Role is the role in Vault that the service account is bound to.
	Role string
	// TokenFile holds the service account's JWT. The kubelet replaces it before
	// it expires, so it is read at every login. Default: where Kubernetes
	// mounts it.
	TokenFile string
	// Mount is where the method is mounted; default "kubernetes".
	Mount string
}

// serviceAccountToken is where Kubernetes mounts the JWT of a pod's account.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// logsIn says whether tokens are got by logging in, so that a lost one can be
// replaced at any time.
func (c Config) logsIn() bool { return c.AppRole.RoleID != "" || c.Kubernetes.Role != "" }

// login gets a new token. The old one stays when that fails.
func (a *auth) login(ctx context.Context) error {
	name, method, err := a.method()
	if err != nil {
		return fmt.Errorf("log in by %s: %s", name, a.redact(err))
	}
	got, err := a.api.Auth().Login(ctx, method)
	if err != nil {
		text := a.redact(err)
		var answered *api.ResponseError
		if errors.As(err, &answered) {
			return fmt.Errorf("log in by %s: %s%s", name, text, a.config.loginHint(answered.StatusCode))
		}
		return fmt.Errorf("log in by %s: %s%s", name, text, connectHint(text))
	}
	life := time.Duration(got.Auth.LeaseDuration) * time.Second
	a.logger.Info("logged in to Vault by "+name, "event", "vault_login", "ttl", life)
	a.loggedIn = time.Now()
	a.plan(life, got.Auth.Renewable)
	return nil
}

// method is the configured way to log in, with the credential of now.
func (a *auth) method() (name string, method api.AuthMethod, err error) {
	if role := a.config.AppRole; role.RoleID != "" {
		method, err = a.appRole(role)
		return "AppRole", method, err
	}
	method, err = a.kubernetes(a.config.Kubernetes)
	return "Kubernetes", method, err
}

func (a *auth) appRole(role AppRole) (api.AuthMethod, error) {
	if a.credential = role.SecretID; a.credential == "" {
		var err error
		if a.credential, err = readCredential("secret id", role.SecretIDFile); err != nil {
			return nil, err
		}
	}
	var options []approle.LoginOption
	if mount := strings.Trim(role.Mount, "/"); mount != "" {
		options = append(options, approle.WithMountPath(mount))
	}
	return approle.NewAppRoleAuth(role.RoleID, &approle.SecretID{FromString: string(a.credential)}, options...)
}

func (a *auth) kubernetes(account Kubernetes) (api.AuthMethod, error) {
	path := account.TokenFile
	if path == "" {
		path = serviceAccountToken
	}
	var err error
	if a.credential, err = readCredential("service account token", path); err != nil {
		return nil, err
	}
	options := []kubernetes.LoginOption{kubernetes.WithServiceAccountToken(string(a.credential))}
	if mount := strings.Trim(account.Mount, "/"); mount != "" {
		options = append(options, kubernetes.WithMountPath(mount))
	}
	return kubernetes.NewKubernetesAuth(account.Role, options...)
}

// readCredential reads a file that holds one line.
func readCredential(what, path string) (secret.String, error) {
	credential, err := files.Secret(path)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	return credential, nil
}
