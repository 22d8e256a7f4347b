package xds

import (
	"regexp"
	"strings"
)

// maxMessage bounds what is kept of an Envoy's words, in bytes.
const maxMessage = 4 << 10

// Envoy prints a message that breaks a constraint whole, a private key in it included.
var private = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b(inline_(?:string|bytes)): *"(?:[^"\\]|\\.)*(?:"|\\?$)`), `$1: "left out"`},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), "(a private key, left out)"},
}

// quotable makes an Envoy's words fit for logs and pages.
func quotable(message string) string {
	for _, p := range private {
		message = p.pattern.ReplaceAllString(message, p.with)
	}
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	return strings.ToValidUTF8(strings.TrimSpace(message), "")
}
