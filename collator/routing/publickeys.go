package routing

import (
	"encoding/json"
	"fmt"

	"relay/credentials"
)

// maxKeys is how many public keys may be in a credential, for each route has them.
const maxKeys = 20

// publicKey is a key of https://www.rfc-editor.org/rfc/rfc7517, without what is private of it.
type publicKey struct {
	Type      string `json:"kty"`
	ID        string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

// PublicKeys returns the public keys of a credential by which Envoys verify tokens, and nothing else of it; or the reason why
// there are none. A key that is shared (HMAC) is none: who can verify tokens by it can make them.
func PublicKeys(c *credentials.Credential) (keys []byte, reason string) {
	if c == nil || len(c.Value) == 0 {
		return nil, "is not there, or empty"
	}
	var set struct {
		Keys []publicKey `json:"keys"`
	}
	if err := json.Unmarshal(c.Value, &set); err != nil {
		return nil, `is no set of keys in JSON: {"keys": [...]}`
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, fmt.Sprintf("has %d keys: 1 to %d are taken", len(set.Keys), maxKeys)
	}
	for _, key := range set.Keys {
		if key.Type != "RSA" && key.Type != "EC" && key.Type != "OKP" {
			return nil, "has a key that is not of the types RSA, EC and OKP"
		}
	}
	keys, err := json.Marshal(set)
	if err != nil {
		return nil, "cannot be written as JSON"
	}
	return keys, ""
}
