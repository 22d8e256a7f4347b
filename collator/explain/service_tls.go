package explain

import (
	"cmp"
	"fmt"
	"strings"

	"relay/sources"
)

// maxNamesShown is how many names of clients are shown.
const maxNamesShown = 5

// refusedHint says where to look for handshakes that failed: Relay does not hear of them.
const refusedHint = "a client that is not let in is counted by its Envoy alone, by reason: ssl.fail_verify_* of the listener (docs/connections.md)"

// serviceTLSWords says how Envoy meets the clients of a TCP service whose TLS it ends. Without the authority
// that it names nobody is let in.
func serviceTLSWords(t sources.ServiceTLS, lacksAuthority bool) []string {
	words := []string{fmt.Sprintf("TCP mode: Envoy ends the TLS of clients (profile %s), and what is in it is passed on", cmp.Or(t.Profile, sources.TLSIntermediate))}
	if len(t.ALPN) > 0 {
		words = append(words, "clients that ask for a protocol (ALPN) get one of "+strings.Join(t.ALPN, ", "))
	}
	switch {
	case t.Refused:
		return append(words, "nobody is let in: a restriction was asked for that cannot be kept; connections that are open stay")
	case lacksAuthority:
		return append(words, fmt.Sprintf("nobody is let in: no certificate store has the authority %s; connections that are open stay", t.ClientCA))
	case t.ClientCA == "":
		return append(words, "clients are asked for no certificate")
	case t.OptionalCertificate:
		words = append(words, fmt.Sprintf("a client may show a certificate, which the authority %s must have signed; without one it is let in too", t.ClientCA))
	default:
		words = append(words, fmt.Sprintf("a client must show a certificate that the authority %s signed", t.ClientCA))
	}
	if len(t.ClientNames) > 0 {
		words = append(words, "it must have one of the names "+clientNames(t.ClientNames))
	}
	return append(words, "a certificate that is revoked, or ends, is refused from the next connection on: those that are open stay")
}

func clientNames(names []sources.ClientName) string {
	var all []string
	for _, n := range names[:min(len(names), maxNamesShown)] {
		text := string(n.Type) + ":" + n.Value
		if n.Prefix {
			text += "*"
		}
		all = append(all, text)
	}
	if more := len(names) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}
