package xds

import (
	"regexp"
	"strings"
)

// maxMessage bounds what is kept of Envoy's message in a NACK, in bytes.
const maxMessage = 4 << 10

// maxRead bounds what is read of it, in bytes: much of that may be left out.
const maxRead = 16 * maxMessage

// maxQuoted is how many resources an Envoy may reject before its messages are shortened, and
// maxBrief the length of those, in bytes.
const (
	maxQuoted = 100
	maxBrief  = 200
)

// private are parts of messages that must not be shown. Envoy prints a resource that breaks a
// constraint, and a private key in it.
var private = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b(inline_(?:string|bytes)): *"(?:[^"\\]|\\.)*(?:"|\\?$)`), `$1: "left out"`},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), "(a private key, left out)"},
}

// quotable makes Envoy's message fit for logs and pages.
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

// brief returns the beginning of a message.
func brief(message string) string {
	if len(message) <= maxBrief {
		return message
	}
	return strings.ToValidUTF8(message[:maxBrief], "") + "…"
}
