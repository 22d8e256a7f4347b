package routing

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"strings"

	"relay/credentials"
	"relay/internal/secret"
	"relay/sources"
)

// The secrets by which a port has people log in: that of the client, and the one that signs and encrypts cookies.
const (
	oidcPrefix  = "oidc/"
	oidcClient  = "/client"
	oidcCookies = "/cookies"
)

// minClientSecret is how many bytes the secret of a client must have: whoever has a cookie could find out a short one.
const minClientSecret = 16

// OIDCClientSecret and OIDCCookieSecret are the names of the secrets of an app port whose cluster this is.
func OIDCClientSecret(cluster string) string { return oidcPrefix + cluster + oidcClient }

// OIDCCookieSecret is that of the secret of cookies.
func OIDCCookieSecret(cluster string) string { return oidcPrefix + cluster + oidcCookies }

// SecretOfOIDC returns the cluster of such a secret, and whether it is that of cookies. ok is false for any other.
func SecretOfOIDC(name string) (cluster string, cookies, ok bool) {
	rest, ok := strings.CutPrefix(name, oidcPrefix)
	if !ok {
		return "", false, false
	}
	if cluster, ok = strings.CutSuffix(rest, oidcCookies); ok {
		return cluster, true, true
	}
	cluster, ok = strings.CutSuffix(rest, oidcClient)
	return cluster, false, ok
}

// OIDCOf returns how people log in at a port; nil if they do not.
func OIDCOf(h *sources.HTTP) *sources.OIDC {
	if h == nil || h.SignOn == nil {
		return nil
	}
	return h.SignOn.OIDC
}

// CookieKey is the key that signs and encrypts the cookies of an app port. It is made of the secret of the client, so
// that each Relay has the same, also after a restart, and of all that sessions are for: the cookies of one port, of one
// client or of another provider are worth nothing at others.
func CookieKey(o *sources.OIDC, cluster string, clientSecret []byte) (secret.Bytes, error) {
	sessions := strings.Join([]string{cluster, o.ClientID, o.AuthorizationEndpoint, o.TokenEndpoint}, "\x00")
	return hkdf.Key(sha256.New, clientSecret, []byte("relay oidc cookies"), sessions, sha256.Size)
}

// CannotLogIn says why nobody can log in at a port of the fleet, given the secret of the client; empty if people can.
func (f *Fleet) CannotLogIn(o *sources.OIDC, client *credentials.Credential) string {
	if client == nil {
		return "the secret of the client is not there"
	}
	if reason := f.CannotHaveSessions(client); reason != "" {
		return reason
	}
	if _, _, reason := f.Ask(o.TokenEndpoint); reason != "" {
		return "the token endpoint " + reason
	}
	for _, endpoint := range []string{o.AuthorizationEndpoint, o.EndSessionEndpoint} {
		if strings.HasPrefix(endpoint, "http://") {
			if _, _, reason := f.Ask(endpoint); reason != "" {
				return "an endpoint " + reason
			}
		}
	}
	return ""
}

// CannotHaveSessions says why no session could be kept safe in the fleet; empty if they can.
func (f *Fleet) CannotHaveSessions(client *credentials.Credential) string {
	switch {
	case !f.OffersHTTPS():
		return "the fleet takes no HTTPS, and cookies that tell who somebody is need it (--https)"
	case !strings.Contains(client.Path, "/"):
		return fmt.Sprintf("the secret of the client, %s, is in no folder: any app could have it sent anywhere; put it into the folder of the app", client.Path)
	case len(client.Value) < minClientSecret:
		return fmt.Sprintf("the secret of the client has less than %d bytes: it could be found out by its cookies", minClientSecret)
	}
	return ""
}

// OIDCSecrets are the secrets that rules name for which people can log in.
func (f *Fleet) OIDCSecrets(rules []Rule) (secrets []string) {
	for _, r := range rules {
		if OIDCOf(&r.HTTP) != nil && !r.HTTP.Closed && !f.Unsigned(r) && !r.Maintenance() {
			secrets = append(secrets, OIDCClientSecret(r.Claim.Cluster()), OIDCCookieSecret(r.Claim.Cluster()))
		}
	}
	return secrets
}
