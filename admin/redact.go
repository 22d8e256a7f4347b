package admin

import "regexp"

var secrets = []struct {
	pattern *regexp.Regexp
	with    string
}{
	// The userinfo of a URL, up to the last "@" before the path.
	{regexp.MustCompile(`://[^/\s"']*@`), "://REDACTED@"},
	// PEM private keys, complete or cut off.
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), "REDACTED"},
	// Vault tokens: service, batch and recovery.
	{regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]+`), "REDACTED"},
	// JSON Web Tokens.
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`), "REDACTED"},
	// Credentials of an Authorization header or of a query.
	{regexp.MustCompile(`(?i)\b(basic|bearer) [A-Za-z0-9+/=._~-]{8,}`), "$1 REDACTED"},
	{regexp.MustCompile(`(?i)\b(token|password|secret_id)=[^\s&"']+`), "$1=REDACTED"},
}

// redact takes out what looks like a credential. Errors should hold none; this
// is the last check before a page that anybody may read.
func redact(s string) string {
	for _, r := range secrets {
		s = r.pattern.ReplaceAllString(s, r.with)
	}
	return s
}
