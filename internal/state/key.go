package state

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"relay/internal/secret"
)

// keyBytes is the length of an AES-256 key.
const keyBytes = 32

// Key encrypts saved state by AES-256-GCM. It cannot be printed.
type Key struct{ aead cipher.AEAD }

// String hides the key.
func (*Key) String() string { return secret.Redacted }

// GoString hides the key from %#v.
func (*Key) GoString() string { return secret.Redacted }

// ParseKey takes the content of a key file, as KeyBytes does.
func ParseKey(data []byte) (*Key, error) {
	raw, err := KeyBytes(data)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, errors.New("the key cannot be used for AES-256")
	}
	// A new random nonce for each save: far from the 2^32 that one key is good for.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("AES-GCM: %w", err)
	}
	return &Key{aead}, nil
}

// KeyBytes reads the content of a key file: 32 random bytes, as they are or in
// hex or base64 with white space around. Text of 32 characters is refused: it
// is a password or a shorter key, not 32 random bytes. Errors hold nothing of
// the content.
func KeyBytes(data []byte) (secret.Bytes, error) {
	if len(data) == keyBytes && !isText(data) {
		return data, nil
	}
	text := strings.TrimSpace(string(data))
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == keyBytes {
		return raw, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(text); err == nil && len(raw) == keyBytes {
			return raw, nil
		}
	}
	return nil, errors.New("want 32 random bytes, as they are, in hex or in base64, such as openssl rand -hex 32 prints")
}

func isText(data []byte) bool {
	for _, c := range data {
		if (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}
