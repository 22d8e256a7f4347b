package relay

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/internal/plural"
	"relay/internal/problem"
	"relay/internal/scrape"
)

// portCertificates tells people when the certificates of Relay's own ports
// cannot be used or come near their end: without them no Envoy gets in.
type portCertificates struct {
	ports []portCertificate
	log   *slog.Logger
	// logged is what was last said of each port.
	logged []string
}

type portCertificate struct {
	port string
	tls  *serverTLS
}

func newPortCertificates(log *slog.Logger, registerer prometheus.Registerer, ports ...portCertificate) *portCertificates {
	p := &portCertificates{log: log.With("part", "port certificates")}
	for _, port := range ports {
		if port.tls.enabled() {
			p.ports, p.logged = append(p.ports, port), append(p.logged, "")
		}
	}
	scrape.Register(registerer, p.expiries, portExpiryGauge)
	return p
}

var portExpiryGauge = scrape.NewGauge("relay_port_certificate_expiry_timestamp_seconds", "When the certificate of one of Relay's own ports expires, in Unix time.", "port")

func (p *portCertificates) expiries(set scrape.Set) {
	for _, port := range p.ports {
		certificate, _ := port.tls.state()
		set(portExpiryGauge, float64(certificate.NotAfter.Unix()), port.port)
	}
}

// Serve logs what is wrong, once, until the context ends.
func (p *portCertificates) Serve(ctx context.Context) error {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			for i, port := range p.ports {
				reason := port.wrong(time.Now())
				if reason != "" && reason != p.logged[i] {
					p.log.Warn("a certificate needs care", "event", "port_certificate_problem", "setting", port.setting(), "reason", reason)
				}
				p.logged[i] = reason
			}
		}
	}
}

func (p *portCertificates) problems() (problems []problem.Problem) {
	for _, port := range p.ports {
		if reason := port.wrong(time.Now()); reason != "" {
			one := problem.Problem{Kind: problem.Certificate, Subject: port.setting(), Reason: reason, Action: "put a new certificate, and its key, in the place of the files"}
			if certificate, err := port.tls.state(); err == nil && time.Now().After(certificate.NotAfter) {
				one.Severity = problem.Failing
			}
			problems = append(problems, one)
		}
	}
	return problems
}

func (p portCertificate) setting() string { return p.port + "-cert" }

// firstReminder is how many days before the end a certificate becomes a problem.
const firstReminder = 15

// wrong says what is wrong with the certificate of a port; empty for nothing.
func (p portCertificate) wrong(now time.Time) string {
	certificate, err := p.tls.state()
	left := certificate.NotAfter.Sub(now)
	days, _ := (&certs.Certificate{NotBefore: certificate.NotBefore, NotAfter: certificate.NotAfter}).Reminder(now)
	switch {
	case err != nil:
		return fmt.Sprintf("%v: the last good one stays, until %s", err, certificate.NotAfter.Format(time.DateOnly))
	case left <= 0:
		return "has expired: clients refuse it"
	case days != 0 && days <= firstReminder:
		return fmt.Sprintf("expires within %s: renew it", plural.Of(int(math.Ceil(left.Hours()/24)), "day"))
	}
	return ""
}
