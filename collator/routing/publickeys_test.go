package routing

import (
	"strings"
	"testing"

	"relay/credentials"
	"relay/internal/secret"
)

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB","d":"private","p":"private"}]}`:                   `{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"OKP","crv":"Ed25519","x":"c"}], "more": 1}`: `{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"OKP","crv":"Ed25519","x":"c"}]}`,
		`{"keys":[{"kty":"oct","k":"shared"}]}`:                                                                  "", `{"keys":[]}`: "", `{}`: "", `secret`: "", "": "", `{"keys":[` + strings.Repeat(`{"kty":"RSA"},`, 20) + `{"kty":"RSA"}]}`: "",
	} {
		keys, reason := PublicKeys(&credentials.Credential{Value: secret.Bytes(value)})
		if string(keys) != want || (reason == "") != (want != "") || strings.Contains(reason, "secret") {
			t.Errorf("%.60s: %s, %q", value, keys, reason)
		}
	}
	if _, reason := PublicKeys(nil); reason == "" {
		t.Error("there are keys in nothing")
	}
}
