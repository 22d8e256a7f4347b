package vault

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// checkPath refuses the path of an address that is one of Vault's API or its pages: Relay
// adds /v1 itself. A proxy may have any other.
func checkPath(address *url.URL) error {
	segments := strings.Split(address.Path, "/")
	at := slices.IndexFunc(segments, func(s string) bool { return s == "v1" || s == "ui" })
	if at < 0 {
		return nil
	}
	base := url.URL{Scheme: address.Scheme, Host: address.Host, Path: strings.Join(segments[:at], "/")}
	return fmt.Errorf("--vault-addr %s: /%s is not part of Vault's address: write %s", address, segments[at], &base)
}

// mountMistake says what to write in place of a mount with a part of the paths of Vault's HTTP
// API in it; empty if there is none. inMount is what is known to be the mount.
func mountMistake(configured, inMount string) string {
	segments := strings.Split(configured, "/")
	if segments[0] == "v1" {
		segments = segments[1:]
	}
	from := max(1, len(strings.Split(inMount, "/")))
	for i := from; i < len(segments); i++ {
		if s := segments[i]; s == "data" || s == "metadata" {
			segments = slices.Delete(segments, i, i+1)
			break
		}
	}
	if meant := strings.Join(segments, "/"); meant != configured && meant != "" {
		return fmt.Sprintf("--vault-mount %s has a part of the HTTP API's path in it: write --vault-mount %s", configured, meant)
	}
	return ""
}

// mountHint is what to look at when nothing was found in the mount, or it may not be read.
func mountHint(configured string) string {
	if mistake := mountMistake(configured, ""); mistake != "" {
		return mistake
	}
	return fmt.Sprintf("see whether --vault-mount %s is a mount, or a path below one (vault secrets list)", configured)
}

const plainHTTP = "it takes no TLS: write http:// in --vault-addr, or have Vault's listener take TLS"

// connectHint says what to do where no Vault was reached; empty if that is not clear.
func connectHint(text string) string {
	for _, known := range []struct{ words, hint string }{
		{"server gave HTTP response to HTTPS client", plainHTTP},
		{"first record does not look like a TLS handshake", plainHTTP},
		{"certificate signed by unknown authority", "give the authority of Vault's certificate in --vault-ca-file"},
		{"certificate is valid for", "write a name in --vault-addr that is in Vault's certificate, or set VAULT_TLS_SERVER_NAME"},
		{"doesn't contain any IP SANs", "write a name in --vault-addr that is in Vault's certificate, or set VAULT_TLS_SERVER_NAME"},
		{"no such host", "see whether --vault-addr has the right name"},
		{"connection refused", "see whether --vault-addr has the right host and port, and Vault runs"},
	} {
		if strings.Contains(text, known.words) {
			return ": " + known.hint
		}
	}
	return ""
}

// notVault says what an answer without JSON is.
func notVault(body string) string {
	if strings.Contains(body, "HTTP request to an HTTPS server") {
		return "it takes TLS: write https:// in --vault-addr"
	}
	return "not with JSON: is this Vault's address (--vault-addr)?"
}

// tokenSetting is where another token is put.
func (c Config) tokenSetting() string {
	switch {
	case c.AppRole.RoleID != "":
		return "--vault-role-id"
	case c.Kubernetes.Role != "":
		return "--vault-kubernetes-role"
	case c.TokenFile != "":
		return "--vault-token-file"
	}
	return "--vault-token (or VAULT_TOKEN)"
}

// loginHint says which settings of the login to look at. Vault answers 400 to credentials that
// are wrong, and 403 where the method is not mounted as well.
func (c Config) loginHint(status int) string {
	method, mount, who := "AppRole", "--vault-approle-mount "+or(c.AppRole.Mount, "approle"), "--vault-role-id and the secret id in --vault-secret-id-file"
	if c.AppRole.RoleID == "" {
		method, mount = "Kubernetes", "--vault-kubernetes-mount "+or(c.Kubernetes.Mount, "kubernetes")
		who = "--vault-kubernetes-role " + c.Kubernetes.Role + ", and that the role is for this service account"
	}
	switch status {
	case http.StatusBadRequest, http.StatusInternalServerError:
		return ": check " + who
	case http.StatusForbidden, http.StatusNotFound:
		return fmt.Sprintf(": see whether the method %s is mounted at %s (vault auth list); if it is, check %s", method, mount, who)
	}
	return ""
}

func or(set, fallback string) string {
	if set = strings.Trim(set, "/"); set != "" {
		return set
	}
	return fallback
}

// notURL is the error of an address without scheme. It repeats nothing before an "@": that may
// be a password.
func notURL(text string) error {
	if len(strings.Fields(text)) > 1 {
		return errors.New("--vault-addr has a space in an address: write a comma between addresses, as in --vault-addr https://one:8200,https://two:8200")
	}
	rest := text[strings.LastIndex(text, "@")+1:]
	if scheme, host, ok := strings.Cut(rest, "://"); ok && scheme != "" && host != "" {
		return fmt.Errorf("--vault-addr %q is not an http or https URL: write https://%s", rest, host)
	}
	if host := strings.TrimLeft(rest, ":/"); host != "" && !strings.ContainsAny(host, " %") {
		return fmt.Errorf("--vault-addr %q is not an http or https URL: write https://%s, or http:// if Vault takes no TLS", rest, host)
	}
	return errors.New("--vault-addr is not a URL: write it as https://vault.example:8200")
}
