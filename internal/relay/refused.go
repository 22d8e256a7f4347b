package relay

import (
	"fmt"
	"net"

	"relay/internal/guard"
	"relay/xds"
)

// Refused says which clients of the xDS port were refused within the last hour, and why, the
// latest first. One that was served since is left out.
func (r *Relay) Refused() []string {
	return refusedText(r.xds.Refused(), r.xds.Streams())
}

func refusedText(refused []guard.Refused, served []xds.StreamStatus) (all []string) {
	for _, client := range refused {
		if servedSince(client, served) {
			continue
		}
		who := client.Host
		if client.Who != "" {
			who = fmt.Sprintf("node %s from %s", client.Who, client.Host)
		}
		all = append(all, fmt.Sprintf("%s, the last time at %s: %s", who, stamp(client.At), client.Reason))
	}
	return all
}

// servedSince goes by the name that a client gave itself, and by its host.
func servedSince(client guard.Refused, served []xds.StreamStatus) bool {
	for _, s := range served {
		host, _, err := net.SplitHostPort(s.Address)
		if err != nil {
			host = s.Address
		}
		if host == client.Host && (client.Who == "" || client.Who == s.NodeID) && s.Since.After(client.At) {
			return true
		}
	}
	return false
}
