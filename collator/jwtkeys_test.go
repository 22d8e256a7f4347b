package collator

import (
	"slices"
	"testing"

	"relay/credentials"
	"relay/internal/secret"
	"relay/xds"
)

// Public keys of a credential are in the scope as soon as they are there, and nobody is let in before, or by what is no
// set of keys.
func TestKeysOfACredential(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CredentialSources: []string{"dir"}})
	give := func(value string) string {
		c.SyncCredentials("dir", []*credentials.Credential{{Source: "dir", Path: "shop/keys", Value: secret.Bytes(value)}}, nil)
		c.round()
		return r.Versions[xds.Key{Type: xds.Scope, Name: "a.test"}]
	}
	const one, other = `{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"RSA","kid":"b","n":"AQAB","e":"AQAB"}]}`
	syncApps(c, set(t, webApp("/shop/web", "a.test"), "JWT_ISSUER=i", "JWT_JWKS=keys", "JWT_AUDIENCES=a"))
	if slices.Contains(r.Names(xds.Scope), "a.test") {
		t.Error("the scope is there before the credentials are known")
	}
	closed, first, second := give("no keys"), give(one), give(other)
	if closed == first || first == second {
		t.Errorf("versions %s, %s and %s", closed, first, second)
	}
	if again := give("no keys"); again != closed {
		t.Errorf("without keys the scope is %s, and was %s", again, closed)
	}
}
