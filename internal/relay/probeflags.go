package relay

import "strings"

// probeFlags are the flags of "relay probe" for what errors of admin/client call by the flags of other commands. Those
// of "relay serve" stay.
var probeFlags = strings.NewReplacer(
	"in its --admin-token-file", "in its --admin-token-file", "with this --admin?", "with this --admin?",
	"--admin-token-file", "--token-file", "--admin-ca", "--ca-file", "--admin-client-cert", "--client-cert", "--admin-client-key", "--client-key",
	" (--admin-timeout)", "", "--admin", "--relay",
)

// probeError is an error of admin/client, as "relay probe" says it.
type probeError struct{ error }

func (e probeError) Error() string { return probeFlags.Replace(e.error.Error()) }
func (e probeError) Unwrap() error { return e.error }
