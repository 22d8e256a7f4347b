package envoy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator"
	"relay/collator/routing"
	"relay/sources"
)

// oneSession always answers with the session stored last, whichever server it is for.
type oneSession struct{ session *tls.ClientSessionState }

func (c *oneSession) Get(string) (*tls.ClientSessionState, bool) {
	return c.session, c.session != nil
}

func (c *oneSession) Put(_ string, session *tls.ClientSessionState) { c.session = session }

// visit connects with a session, if the cache has one, and reports whether it
// was resumed. The client does not mind whose certificate it sees.
func (e *realEnvoy) visit(t *testing.T, version uint16, sni string, cache tls.ClientSessionCache, shown ...tls.Certificate) (resumed bool, err error) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", e.fleet.HTTPS.String(), &tls.Config{
		ServerName: sni, ClientSessionCache: cache, Certificates: shown,
		MinVersion: version, MaxVersion: version, InsecureSkipVerify: true,
	})
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	// With TLS 1.3 the ticket comes before the answer.
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("answered %.100q", answer)
	}
	return conn.ConnectionState().DidResume, err
}

// startTwo are Envoys of one fleet that get the same from Relays of their own.
func startTwo(t *testing.T, options ...func(*routing.Fleet, *certstest.CA)) (a, b *realEnvoy) {
	t.Helper()
	t.Parallel()
	a, b = startEnvoy(t, options...), startEnvoy(t, options...)
	all := []*certs.Certificate{a.certificate("app.test", "app.test"), a.certificate("other.test", "other.test")}
	for _, e := range []*realEnvoy{a, b} {
		e.ca = a.ca
		e.c.SyncCertificates("vault", all, nil)
		e.c.SyncApps([]*sources.App{e.app("/app", "app.test")})
	}
	return a, b
}

func (e *realEnvoy) setTicketKeys(t *testing.T, secret string, period int64) {
	t.Helper()
	keys, err := collator.TicketKeys([]byte(secret), e.fleet.Name, period)
	if err != nil {
		t.Fatal(err)
	}
	e.c.SetTicketKeys(e.fleet.Name, keys)
}

func (e *realEnvoy) serving(t *testing.T, sni string) {
	t.Helper()
	e.eventually(t, request{host: "app.test", path: "/", tls: true, sni: sni}, fromApp("/app"))
}

const ticketTestSecret = "0123456789abcdef0123456789ABCDEF"

var tlsVersions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func shared(f *routing.Fleet, _ *certstest.CA) { f.TLS.SharedTickets = true }

// A session that began at one Envoy is resumed at the other, where nothing but
// the secret is shared.
func TestSessionsAreResumedElsewhere(t *testing.T) {
	a, b := startTwo(t, shared)
	for _, e := range []*realEnvoy{a, b} {
		e.setTicketKeys(t, ticketTestSecret, 1000)
		e.serving(t, "app.test")
		e.serving(t, "other.test")
	}
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) {
			var cache oneSession
			want := []bool{false, true, true, true}
			for i, e := range []*realEnvoy{a, b, a, b} {
				if resumed, err := e.visit(t, version, "app.test", &cache); err != nil || resumed != want[i] {
					t.Errorf("visit %d: resumed %t, %v; want %t", i, resumed, err, want[i])
				}
			}
			// The session is that of one certificate only.
			for _, e := range []*realEnvoy{a, b} {
				session := cache
				if resumed, err := e.visit(t, version, "other.test", &session); err != nil || resumed {
					t.Errorf("under another certificate: resumed %t, %v", resumed, err)
				}
			}
		})
	}
}

func TestSessionsAreNotResumedElsewhereByDefault(t *testing.T) {
	a, b := startTwo(t)
	for _, e := range []*realEnvoy{a, b} {
		e.serving(t, "app.test")
	}
	for name, version := range tlsVersions {
		var cache oneSession
		want := []bool{false, true, false}
		for i, e := range []*realEnvoy{a, a, b} {
			if resumed, err := e.visit(t, version, "app.test", &cache); err != nil || resumed != want[i] {
				t.Errorf("%s, visit %d: resumed %t, %v; want %t", name, i, resumed, err, want[i])
			}
		}
	}
}

// Tickets outlive the key that encrypts new ones by two periods, and then end;
// a replica whose clock is ahead or behind is understood; another secret ends
// them at once. No listener is touched, and no connection closed.
func TestTicketKeyRotation(t *testing.T) {
	a, b := startTwo(t, shared)
	for _, e := range []*realEnvoy{a, b} {
		e.setTicketKeys(t, ticketTestSecret, 1000)
		e.serving(t, "app.test")
	}
	ws := b.dial(t, request{host: "app.test", tls: true, sni: "app.test"})
	listeners := b.listenersTaken(t)
	sessions := make(map[uint16]oneSession)
	for _, version := range tlsVersions {
		var cache oneSession
		if _, err := a.visit(t, version, "app.test", &cache); err != nil {
			t.Fatal(err)
		}
		sessions[version] = cache
	}
	for _, step := range []struct {
		secret  string
		period  int64
		resumed bool
	}{
		{ticketTestSecret, 999, true}, {ticketTestSecret, 1001, true}, {ticketTestSecret, 1002, true},
		{ticketTestSecret, 998, false}, {ticketTestSecret, 1003, false}, {ticketTestSecret, 1000, true},
		{strings.ToUpper(ticketTestSecret), 1000, false},
	} {
		b.setTicketKeys(t, step.secret, step.period)
		b.acknowledged(t)
		for name, version := range tlsVersions {
			cache := sessions[version]
			if resumed, err := b.visit(t, version, "app.test", &cache); err != nil || resumed != step.resumed {
				t.Errorf("%s, keys of period %d: resumed %t, %v; want %t", name, step.period, resumed, err, step.resumed)
			}
		}
	}
	if n := b.listenersTaken(t); n != listeners {
		t.Errorf("Envoy took in listeners %d times, want %d", n, listeners)
	}
	ping(t, "app.test", ws)
}

// acknowledged waits until Envoy has all that was published.
func (e *realEnvoy) acknowledged(t *testing.T) {
	t.Helper()
	if err := e.c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.until(t, "all is acknowledged", func() bool {
		for _, stream := range e.server.Streams() {
			for _, kind := range stream.Types {
				if kind.Behind > 0 || kind.InFlight {
					return false
				}
			}
		}
		return true
	})
}

// Where certificates of clients are asked for, no session stands in for one:
// neither one of an Envoy that asked for none, nor one of a client whose
// certificate has expired since.
func TestNoSessionInPlaceOfACertificate(t *testing.T) {
	cs := newClients(t)
	for _, wanted := range []routing.ClientCertificates{routing.ClientCertificatesOptional, routing.ClientCertificatesRequired} {
		t.Run(string(wanted), func(t *testing.T) {
			started := 0
			open, strict := startTwo(t, shared, func(f *routing.Fleet, _ *certstest.CA) {
				if started++; started == 2 {
					f.TLS.ClientCertificates = wanted
				}
			})
			open.setTicketKeys(t, ticketTestSecret, 1000)
			strict.setTicketKeys(t, ticketTestSecret, 1000)
			strict.setClientCA(cs.ca)
			open.serving(t, "app.test")
			strict.until(t, "the good client is served", func() bool { return strict.accepted(cs.good) })
			for name, version := range tlsVersions {
				var cache oneSession
				if _, err := open.visit(t, version, "app.test", &cache); err != nil || cache.session == nil {
					t.Fatalf("%s: no session: %v", name, err)
				}
				if resumed, err := strict.visit(t, version, "app.test", &cache); resumed || (err == nil) != (wanted == routing.ClientCertificatesOptional) {
					t.Errorf("%s, with a session and no certificate: resumed %t, %v", name, resumed, err)
				}
				cache = oneSession{}
				for range 2 {
					if resumed, err := strict.visit(t, version, "app.test", &cache, cs.good...); err != nil || resumed || cache.session != nil {
						t.Errorf("%s, a good client: resumed %t, %v, has a session: %t", name, resumed, err, cache.session != nil)
					}
				}
			}
		})
	}
}

// recorded keeps what was read.
type recorded struct {
	net.Conn
	bytes.Buffer
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.Buffer.Write(p[:n])
	return n, err
}

func (r *recorded) Write(p []byte) (int, error) { return r.Conn.Write(p) }

// Clients keep a session of TLS 1.2 for as long as its ticket says: a day.
func TestTicketLifetime(t *testing.T) {
	a, _ := startTwo(t, shared)
	a.setTicketKeys(t, ticketTestSecret, 1000)
	a.serving(t, "app.test")
	conn, err := net.DialTimeout("tcp", a.fleet.HTTPS.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	wire := &recorded{Conn: conn}
	config := a.ca.ClientTLS()
	config.ServerName, config.ClientSessionCache, config.MaxVersion = "app.test", &oneSession{}, tls.VersionTLS12
	if err := tls.Client(wire, config).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The message is sent in the clear (RFC 5077, 3.3): records of a type, a
	// version and a length, which hold messages of a type and a length.
	for records := wire.Bytes(); len(records) > 5; {
		record := records[5 : 5+binary.BigEndian.Uint16(records[3:])]
		for handshake := record; records[0] == 22 && len(handshake) > 8; {
			if handshake[0] == 4 {
				if seconds := binary.BigEndian.Uint32(handshake[4:]); seconds != 24*60*60 {
					t.Errorf("a ticket is good for %d s, want a day", seconds)
				}
				return
			}
			handshake = handshake[4+int(handshake[1])<<16+int(handshake[2])<<8+int(handshake[3]):]
		}
		records = records[5+len(record):]
	}
	t.Error("Envoy gave no ticket")
}
