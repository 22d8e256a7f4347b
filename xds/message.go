package xds

import (
	"regexp"
	"strings"
)

// maxMessage bounds what is kept of an Envoy's words, in bytes.
const maxMessage = 4 << 10

// maxRead bounds what is read of them: much of it may be left out.
const maxRead = 16 * maxMessage

// maxQuoted is of how many resources that an Envoy rejects its words are kept whole, and
// maxBrief is how many bytes are kept of those about others.
const (
	maxQuoted = 100
	maxBrief  = 200
)

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
	message = message[:min(len(message), maxRead)]
	for _, p := range private {
		message = p.pattern.ReplaceAllString(message, p.with)
	}
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	return strings.ToValidUTF8(strings.TrimSpace(message), "")
}

// brief is the beginning of an Envoy's words.
func brief(message string) string {
	if len(message) <= maxBrief {
		return message
	}
	return strings.ToValidUTF8(message[:maxBrief], "") + "…"
}
