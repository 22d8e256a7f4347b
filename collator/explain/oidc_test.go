package explain

import (
	"slices"
	"strings"
)

// neededForLogIn are the settings that one of a log-in needs beside it; none for any other.
func neededForLogIn(name string) []string {
	if !strings.HasPrefix(name, "OIDC_") {
		return nil
	}
	all := []string{"OIDC_CLIENT_ID=web", "OIDC_CLIENT_SECRET=sso", "OIDC_AUTHORIZATION_ENDPOINT=https://id.test/a", "OIDC_TOKEN_ENDPOINT=https://id.test/t"}
	return slices.DeleteFunc(all, func(setting string) bool { return strings.HasPrefix(setting, name+"=") })
}
