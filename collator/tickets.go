package collator

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"time"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/secret"
)

// ticketKeyBytes is what Envoy takes: a name, a key for the MAC and one to
// encrypt.
const ticketKeyBytes = 80

// TicketKey encrypts session tickets of TLS. It cannot be printed: whoever has
// it can read recorded connections of TLS 1.2.
type TicketKey = secret.Bytes

// TicketPeriod numbers the time in steps of routing.TicketKeyPeriod, in every Relay
// alike.
func TicketPeriod(at time.Time) int64 { return at.Unix() / int64(routing.TicketKeyPeriod/time.Second) }

// TicketKeys derives the keys of a fleet for a period from a secret of 32 bytes,
// by HKDF with SHA-256 (RFC 5869). The first one encrypts: that of the period.
// The next period's is there for a replica whose clock is ahead, and those of the
// two before, so that a ticket is good for 24 to 36 hours. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/common.proto#extensions-transport-sockets-tls-v3-tlssessionticketkeys
func TicketKeys(secret []byte, fleet string, period int64) ([]TicketKey, error) {
	var keys []TicketKey
	for _, offset := range []int64{0, 1, -1, -2} {
		// %q keeps any two names and numbers apart.
		info := fmt.Sprintf("relay TLS session ticket key of fleet %q, period %d", fleet, period+offset)
		key, err := hkdf.Key(sha256.New, secret, nil, info, ticketKeyBytes)
		if err != nil {
			return nil, fmt.Errorf("derive session ticket keys: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// SetTicketKeys gives the Envoys of a fleet their keys: the first one encrypts
// tickets, all decrypt them. Until it is called a fleet with SharedTickets takes
// no connection by HTTPS.
func (c *Collator) SetTicketKeys(fleet string, keys []TicketKey) {
	raw := make([][]byte, len(keys))
	for i, key := range keys {
		raw[i] = key
	}
	c.setTLSSecret(fleet, routing.TicketKeysSecret, envoy.SessionTicketKeys(raw))
}
