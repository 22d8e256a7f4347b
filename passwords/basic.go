package passwords

import (
	"encoding/base64"
	"strings"

	"relay/internal/crypt"
)

// maxAuthorization is how long a header may be that is looked at: longer ones have a password that fits no hash.
const maxAuthorization = (255+1+crypt.MaxPassword)*4/3 + 32

// parseBasic understands the header of https://www.rfc-editor.org/rfc/rfc7617.
func parseBasic(header string) (user, password string, ok bool) {
	if len(header) > maxAuthorization {
		return "", "", false
	}
	scheme, token, ok := strings.Cut(strings.TrimSpace(header), " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(token), "="))
	if err != nil {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(text), ":")
	return user, password, ok && len(password) <= crypt.MaxPassword
}
