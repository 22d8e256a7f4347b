package relay

import (
	"errors"
	"time"

	"relay/collator"
	"relay/internal/secret"
	"relay/internal/state"
)

// validateTickets refuses a key for no tickets: sessions are resumed by HTTPS
// only, and not where clients show certificates.
func (c *Config) validateTickets() error {
	if c.SessionTicketKeyFile != "" && len(c.ticketFleets()) == 0 {
		return errors.New("--session-ticket-key-file has no effect: no fleet listens for HTTPS without asking clients for certificates")
	}
	return nil
}

// ticketFleets are those whose Envoys share session tickets.
func (c *Config) ticketFleets() (fleets []string) {
	for _, f := range c.Fleets {
		if c.SessionTicketKeyFile != "" && f.HTTPS.IsValid() && !f.asksForCertificates() {
			fleets = append(fleets, f.Name)
		}
	}
	return fleets
}

// ticketRotation gives fleets the keys of the time.
type ticketRotation struct {
	fleets []string
	sink   downstreamSink
	secret secret.Bytes
	period int64
}

// setSecret takes the content of a key file.
func (r *ticketRotation) setSecret(content []byte) error {
	secret, err := state.KeyBytes(content)
	if err != nil {
		return err
	}
	return r.set(secret, collator.TicketPeriod(time.Now()))
}

// rotate changes the keys if it is time.
func (r *ticketRotation) rotate() error {
	if period := collator.TicketPeriod(time.Now()); period != r.period {
		return r.set(r.secret, period)
	}
	return nil
}

func (r *ticketRotation) set(key secret.Bytes, period int64) error {
	for _, fleet := range r.fleets {
		keys, err := collator.TicketKeys(key, fleet, period)
		if err != nil {
			return err
		}
		r.sink.SetTicketKeys(fleet, keys)
	}
	r.secret, r.period = key, period
	return nil
}
