package collator

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"time"

	"relay/internal/secret"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// TicketKeyPeriod is how long new session tickets are encrypted by the same
	// key.
	TicketKeyPeriod = 12 * time.Hour
	// ticketKeyBytes is what Envoy takes: a name, a key for the MAC and one to
	// encrypt.
	ticketKeyBytes = 80

	// sessionTimeout is how long a session of TLS 1.2 can be resumed: for the keys
	// to be there still, no longer than two periods. One of TLS 1.3 lasts two days
	// to Envoy, and thus as long as the keys.
	sessionTimeout = 2 * TicketKeyPeriod

	ticketSecret = fleetSecretPrefix + "session-ticket-keys"
)

// TicketKey encrypts session tickets of TLS. It cannot be printed: whoever has
// it can read recorded connections of TLS 1.2.
type TicketKey = secret.Bytes

// TicketPeriod numbers the time in steps of TicketKeyPeriod, in every Relay
// alike.
func TicketPeriod(at time.Time) int64 { return at.Unix() / int64(TicketKeyPeriod/time.Second) }

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
	var all tlsv3.TlsSessionTicketKeys
	for _, key := range keys {
		all.Keys = append(all.Keys, inlineBytes(key))
	}
	c.setSecret(fleet, &tlsv3.Secret{Name: ticketSecret, Type: &tlsv3.Secret_SessionTicketKeys{SessionTicketKeys: &all}})
}

// resumeSessions says which sessions clients can resume. Envoy does not verify a
// client's certificate again when it resumes a session: where certificates are
// asked for there is none, or one that expired would do for days.
func resumeSessions(tls *tlsv3.DownstreamTlsContext, t DownstreamTLS) {
	switch {
	case t.asksForCertificates():
		resumeNothing(tls)
	case t.SharedTickets:
		tls.SessionTimeout = durationpb.New(sessionTimeout)
		tls.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_SessionTicketKeysSdsSecretConfig{
			SessionTicketKeysSdsSecretConfig: secretFromStream(ticketSecret),
		}
	}
}

func resumeNothing(tls *tlsv3.DownstreamTlsContext) {
	tls.DisableStatefulSessionResumption = true
	tls.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true}
	tls.SessionTimeout = nil
}
