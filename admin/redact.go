package admin

import "relay/internal/secret"

// redact takes out what looks like a credential. Errors should hold none; this
// is the last check before a page that anybody may read.
func redact(s string) string { return secret.Mask(s) }
