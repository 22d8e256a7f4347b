package envoy_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/sources"
	"relay/xds/envoytest"
)

// services are fifty, each with an authority and a certificate of its own, and a device that is connected.
type services struct {
	*realEnvoy
	t            *testing.T
	ports        []uint16
	cas          []*deviceCA
	apps         []*sources.App
	authorities  []*certs.Authority
	certificates []*certs.Certificate
	devices      []tls.Certificate
	conns        []*deviceConn
	taken        int64
}

const serviceCount = 50

func startServices(t *testing.T, version string) *services {
	t.Helper()
	s := &services{realEnvoy: startVersion(t, version, withoutHTTPS), t: t}
	server := s.deviceServer()
	for i := range serviceCount {
		name := fmt.Sprintf("s%d", i)
		s.ports, s.cas = append(s.ports, envoytest.FreePort(t)), append(s.cas, newDeviceCA(t, name, nil))
		s.authorities = append(s.authorities, authorityOf(name, nil, s.cas[i]))
		s.certificates = append(s.certificates, s.certificate(name, name+".test"))
		of := sources.ServiceTLS{ClientCA: name, ClientNames: acmeOnly.ClientNames}
		s.apps = append(s.apps, deviceApp("/"+name, s.ports[i], of, server, name+".test"))
		s.devices = append(s.devices, s.cas[i].device(t, nil, acme+name))
	}
	s.publish()
	for i := range serviceCount {
		s.conns = append(s.conns, s.letsIn(t, s.ports[i], s.asks(i)))
	}
	s.taken = s.listenersTaken(t)
	return s
}

func (s *services) asks(i int) client {
	return client{shown: []tls.Certificate{s.devices[i]}, serverName: fmt.Sprintf("s%d.test", i)}
}

func (s *services) publish() {
	s.c.SyncCertificates("vault", slices.Clone(s.certificates), nil)
	s.c.SyncAuthorities("vault", slices.Clone(s.authorities), nil)
	s.c.SyncApps(slices.Clone(s.apps))
}

// stay holds that all connections are there, also those of the service that changed, and that Envoy was sent
// no listener.
func (s *services) stay(after string) {
	s.t.Helper()
	for i, conn := range s.conns {
		if err := conn.alive(); err != nil {
			s.t.Fatalf("%s: the connection of service %d: %v", after, i, err)
		}
	}
	if now := s.listenersTaken(s.t); now != s.taken {
		s.t.Errorf("%s: listeners were sent %d times", after, now-s.taken)
	}
}

// Of fifty services one changes, in all that may change for whom it lets in and what it shows. All connections
// stay, its own too. New ones are treated as it says now.
func TestConnectionsOfDevicesStay(t *testing.T) {
	t.Parallel()
	for _, version := range []string{envoytest.Newest, "1.37"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			s := startServices(t, version)
			t.Run("authorities", func(t *testing.T) { s.t = t; s.changeAuthorities(t) })
			t.Run("names", func(t *testing.T) { s.t = t; s.changeNames(t) })
			t.Run("certificates", func(t *testing.T) { s.t = t; s.changeCertificates(t) })
		})
	}
}

func (s *services) changeAuthorities(t *testing.T) {
	const i = 7
	port, before := s.ports[i], s.authorities[i]
	next := newDeviceCA(t, "next", nil)
	s.authorities[i] = authorityOf(before.Name, nil, s.cas[i], next)
	s.publish()
	_ = s.letsIn(t, port, as(next.device(t, nil, acme+"new")))
	s.stay("one more authority")

	gone := s.cas[i].device(t, nil, acme+"gone")
	_ = s.letsIn(t, port, as(gone))
	s.authorities[i] = authorityOf(before.Name, s.cas[i].list(t, time.Now().Add(time.Hour), gone.Leaf, s.devices[i].Leaf), s.cas[i])
	s.publish()
	s.keepsOut(t, port, as(gone))
	s.keepsOut(t, port, s.asks(i))
	s.stay("a device is revoked that is connected")

	s.authorities[i] = authorityOf(before.Name, s.cas[i].list(t, time.Now().Add(time.Hour)), s.cas[i])
	s.publish()
	_ = s.letsIn(t, port, as(gone))
	s.stay("it is not revoked any more")

	all := s.authorities
	s.authorities = slices.Delete(slices.Clone(all), i, i+1)
	s.publish()
	s.keepsOut(t, port, s.asks(i))
	s.keepsOut(t, port, client{})
	s.stay("the authority is gone")
	s.authorities = all
	s.publish()
	_ = s.letsIn(t, port, s.asks(i))
	s.stay("the authority is back")
}

func (s *services) changeNames(t *testing.T) {
	const i = 8
	port := s.ports[i]
	set := func(f func(*sources.ServiceTLS)) {
		s.apps[i] = changed(s.apps[i], func(p *sources.Port) {
			of, tcp := *p.TCP.ServiceTLS, *p.TCP
			f(&of)
			tcp.ServiceTLS = &of
			p.TCP = &tcp
		})
		s.publish()
	}
	set(func(of *sources.ServiceTLS) {
		of.ClientNames = []sources.ClientName{{Type: sources.NameDNS, Value: "a.test"}}
	})
	s.keepsOut(t, port, s.asks(i))
	_ = s.letsIn(t, port, as(s.cas[i].device(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.test"} })))
	s.stay("other names are let in")
	set(func(of *sources.ServiceTLS) { of.ClientNames = nil })
	_ = s.letsIn(t, port, s.asks(i))
	s.stay("any name is let in")
	set(func(of *sources.ServiceTLS) { of.ClientCA = "s9" })
	s.keepsOut(t, port, s.asks(i))
	_ = s.letsIn(t, port, s.asks9(i))
	s.stay("another authority is asked for")
	set(func(of *sources.ServiceTLS) { of.Refused = true })
	s.keepsOut(t, port, s.asks9(i))
	s.keepsOut(t, port, client{})
	s.stay("a label is not understood")
}

// asks9 is a device of service 9.
func (s *services) asks9(int) client { return as(s.devices[9]) }

func (s *services) changeCertificates(t *testing.T) {
	const i = 20
	port := s.ports[i]
	shows := func(name string, want *certs.Certificate) {
		t.Helper()
		s.until(t, name, func() bool {
			conn, err := s.connect(port, s.asks(i))
			return err == nil && fingerprintOf(tls.Certificate{Certificate: [][]byte{conn.ConnectionState().PeerCertificates[0].Raw}}) == want.Fingerprint
		})
		s.stay(name)
	}
	s.certificates[i] = s.issue("s20", certstest.Options{NotAfter: time.Now().AddDate(1, 0, 0)}, "s20.test")
	s.publish()
	shows("the certificate is renewed", s.certificates[i])
	better := s.issue("better", certstest.Options{NotAfter: time.Now().AddDate(2, 0, 0)}, "s20.test", "s21.test")
	s.certificates = append(s.certificates, better)
	s.publish()
	shows("another one lasts longer", better)
	s.certificates = s.certificates[:serviceCount]
	s.certificates = append(s.certificates, s.issue("second", certstest.Options{KeyType: certstest.RSA2048, NotAfter: time.Now().AddDate(3, 0, 0)}, "s20.test"))
	s.publish()
	shows("one with another key comes", s.certificates[i])
	fallback := s.issue("wild", certstest.Options{}, "*.test")
	s.certificates = append(slices.Delete(slices.Clone(s.certificates[:serviceCount]), i, i+1), fallback)
	s.publish()
	shows("that of the wildcard is left", fallback)
}
