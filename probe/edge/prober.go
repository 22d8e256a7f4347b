// Package edge asks through an Envoy by HTTP, gRPC and TCP what targets say themselves. It speaks to the Envoy on a
// connection that it makes itself, because more is needed than blackbox_exporter tells of an answer: the code of
// Relay's failures, which tells those of the edge from those of an app, the ID of the request, what was wrong with a
// certificate; a header of the PROXY protocol before all else; and a host that is asked for by gRPC without TLS.
package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"relay/internal/files"
	"relay/probe"
	"relay/probe/connect"
)

// Prober makes connections as a target says. The zero value trusts the system's authorities.
type Prober struct {
	// Place is the name of where it is asked from.
	Place string
	// CAFile has the authorities that are trusted; the system's if empty. It is read again when it changes.
	CAFile string

	mu      sync.Mutex
	pool    *x509.CertPool
	changed time.Time
}

// authorities returns the pool of the file, as it is now. One that cannot be read is an error only at first.
func (p *Prober) authorities() (*x509.CertPool, error) {
	if p.CAFile == "" {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(p.CAFile)
	if err == nil && !info.ModTime().Equal(p.changed) {
		var pool *x509.CertPool
		if pool, err = files.AuthorityPool(p.CAFile); err == nil {
			p.pool, p.changed = pool, info.ModTime()
		}
	}
	if p.pool != nil {
		return p.pool, nil
	}
	return nil, err
}

// open connects, sends the header of the PROXY protocol, and makes TLS. The connection ends with the context. It returns
// nil when a step failed, which the result has then.
func (p *Prober) open(ctx context.Context, r *probe.Result, protocol string) net.Conn {
	address, ok := resolve(ctx, r)
	if !ok {
		return nil
	}
	begin := time.Now()
	conn, err := dial(ctx, address, r.Target.ProxyProtocol)
	if !finish(r, "connect", begin, inWords(err, "no connection")) {
		return nil
	}
	if !r.Target.TLS {
		return conn
	}
	secure := p.secure(ctx, r, conn, protocol)
	if secure == nil {
		_ = conn.Close()
		return nil
	}
	return secure
}

// ending is a connection whose reads and writes end with a context.
type ending struct {
	net.Conn
	stop func() bool
}

// Close implements net.Conn.
func (c ending) Close() error {
	c.stop()
	return c.Conn.Close()
}

// dial connects, and sends the header of the PROXY protocol if the Envoy expects it.
func dial(ctx context.Context, address string, proxyProtocol bool) (net.Conn, error) {
	plain, err := connect.Dial(ctx, address, proxyProtocol)
	if err != nil {
		return nil, err
	}
	return ending{plain, context.AfterFunc(ctx, func() { _ = plain.SetDeadline(time.Unix(1, 0)) })}, nil
}

// Dial connects to the Envoy of a target, as probes do, and sends the header of the PROXY protocol where it is expected.
// Reads and writes end with the context.
func Dial(ctx context.Context, t probe.Target) (net.Conn, error) {
	return dial(ctx, t.Address, t.ProxyProtocol)
}

// resolve returns the address of the target as an IP address. A name is looked up in a step of its own.
func resolve(ctx context.Context, r *probe.Result) (string, bool) {
	host, port, err := net.SplitHostPort(r.Target.Address)
	if err == nil {
		if _, wrong := netip.ParseAddr(host); wrong == nil {
			return r.Target.Address, true
		}
	}
	begin := time.Now()
	var addresses []netip.Addr
	if err == nil {
		addresses, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	seen := ""
	if err != nil || len(addresses) == 0 {
		seen = fmt.Sprintf("no address of %.100s", host)
	}
	if !finish(r, "resolve", begin, seen) {
		return "", false
	}
	return net.JoinHostPort(addresses[0].Unmap().String(), port), true
}

// curves are those that each Envoy takes, without those against quantum computers: a probe tells no secret, and a third of
// what it costs is the handshake.
var curves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}

// secure makes TLS on a connection.
func (p *Prober) secure(ctx context.Context, r *probe.Result, conn net.Conn, protocol string) net.Conn {
	begin := time.Now()
	pool, err := p.authorities()
	if err != nil {
		finish(r, "tls", begin, "the authorities of the settings cannot be read")
		return nil
	}
	config := &tls.Config{ServerName: r.Target.ServerName, RootCAs: pool, MinVersion: tls.VersionTLS12, CurvePreferences: curves}
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	secure := tls.Client(conn, config)
	err = secure.HandshakeContext(ctx)
	if state := secure.ConnectionState(); err == nil {
		r.CertificateExpires = connect.Expires(state)
	}
	r.Answered = r.Answered || connect.Shown(err)
	if !finish(r, "tls", begin, tlsInWords(err, r.Target.ServerName)) {
		return nil
	}
	return secure
}

// finish adds a step, and its time to the phases. It failed if something was seen.
func finish(r *probe.Result, name string, begin time.Time, seen string) bool {
	took := time.Since(begin)
	r.Steps = append(r.Steps, probe.Step{Name: name, Duration: took, OK: seen == "", Seen: seen})
	if phase, ok := phaseOf[name]; ok && r.Phases != nil {
		r.Phases[phase] = took.Seconds()
	}
	if seen != "" {
		r.Reason = name + ": " + seen
	}
	return seen == ""
}

// phaseOf are the names that blackbox_exporter gives to what steps of HTTP are.
var phaseOf = map[string]string{"resolve": "resolve", "connect": "connect", "tls": "tls", "answer": "processing", "body": "transfer"}

// late fails a probe that succeeded later than it should.
func late(r *probe.Result, begin time.Time) {
	r.Duration = time.Since(begin)
	if within := r.Target.Ask.Within; r.OK && within > 0 && r.Duration > within {
		r.OK, r.Late = false, true
		r.Reason = fmt.Sprintf("it took %v, and should take %v at most", r.Duration.Round(time.Millisecond), within)
	}
}

// Check reads the authorities for the first time.
func (p *Prober) Check() error {
	if _, err := p.authorities(); err != nil {
		return fmt.Errorf("ca-file: %w", err)
	}
	return nil
}
