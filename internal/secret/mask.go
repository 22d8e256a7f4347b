package secret

import (
	"regexp"
	"strings"
)

// marks are what credentials look like. What has not the needle of a pattern cannot match it:
// much is looked at, and little has one.
var marks = []struct {
	needle  string
	pattern *regexp.Regexp
	with    string
}{
	// The userinfo of a URL, up to the last "@" before the path.
	{"://", regexp.MustCompile(`://[^/\s"']*@`), "://" + Redacted + "@"},
	// PEM private keys, complete or cut off.
	{"-----BEGIN", regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), Redacted},
	// Vault tokens: service, batch and recovery.
	{"hv", regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]+`), Redacted},
	// JSON Web Tokens.
	{"eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`), Redacted},
	// Credentials of an Authorization header or of a query.
	{" ", regexp.MustCompile(`(?i)\b(basic|bearer) [A-Za-z0-9+/=._~-]{8,}`), "$1 " + Redacted},
	{"=", regexp.MustCompile(`(?i)\b(token|password|secret_id)=[^\s&"']+`), "$1=" + Redacted},
	// Hashes of passwords, as htpasswd and crypt(3) write them.
	{"{S", regexp.MustCompile(`\{SS?HA\}[A-Za-z0-9+/=]+`), Redacted},
	{"$", regexp.MustCompile(`\$(?:1|2[abxy]?|5|6|7|y|gy|apr1)\$[A-Za-z0-9./$=,+-]+`), Redacted},
}

// named are words in the names of what is secret.
var named = regexp.MustCompile(`(?i)auth|token|secret|key|passw|cookie|credential|signature|session|jwt|bearer`)

// Mask takes out of a text what looks like a credential.
func Mask(text string) string {
	for _, m := range marks {
		if strings.Contains(text, m.needle) {
			text = m.pattern.ReplaceAllString(text, m.with)
		}
	}
	return text
}

// Named reports whether something of this name is likely a secret, such as the header
// "X-Api-Key".
func Named(name string) bool { return named.MatchString(name) }
