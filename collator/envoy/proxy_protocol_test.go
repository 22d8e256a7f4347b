package envoy_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// proxyV1 and proxyV2 are headers of the PROXY protocol for a connection that a proxy passes
// on. See https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
func proxyV1(from string, port uint16) string {
	address, family := netip.MustParseAddr(from), "TCP4"
	if address.Is6() {
		family = "TCP6"
	}
	return fmt.Sprintf("PROXY %s %s %s 51000 %d\r\n", family, address, proxyTarget(address), port)
}

func proxyV2(from string, port uint16) string {
	address, family := netip.MustParseAddr(from), byte(0x11)
	if address.Is6() {
		family = 0x21
	}
	ends := append(address.AsSlice(), proxyTarget(address).AsSlice()...)
	ends = binary.BigEndian.AppendUint16(ends, 51000)
	ends = binary.BigEndian.AppendUint16(ends, port)
	ends = append(ends, 0x04, 0, 1, 'x') // a TLV that says nothing
	header := append([]byte(proxySignature), 0x21, family)
	return string(append(binary.BigEndian.AppendUint16(header, uint16(len(ends))), ends...))
}

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	// proxyLocal is what a proxy sends for itself.
	proxyLocal = proxySignature + "\x20\x00\x00\x00"
)

func proxyTarget(client netip.Addr) netip.Addr {
	if client.Is6() {
		return netip.MustParseAddr("2001:db8::1")
	}
	return netip.MustParseAddr("192.0.2.1")
}

// With certificates on demand, the newest Envoy chooses filter chains in another way than the
// oldest: both ways are tested.
func TestProxyProtocol(t *testing.T) {
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := startVersion(t, version, proxied, func(f *routing.Fleet, _ *certstest.CA) {
			f.Proxies.Protocol, f.CertificatesOnDemand = routing.ProxyProtocolRequired, true
		})
		passed := serviceApp("/passed", sources.TCP{Passthrough: true}, "passed.test")
		passed = changed(passed, func(p *sources.Port) {
			p.HTTP, p.Endpoints = &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, endpoints(greeter(t))
		})
		port := envoytest.FreePort(t)
		service := serviceApp("/service", sources.TCP{Port: port, Address: netip.MustParseAddr("127.0.0.1"), AcceptProxy: true})
		service = changed(service, func(p *sources.Port) { p.Endpoints = endpoints(greeter(t)) })
		e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("all", "open.test")}, nil)
		e.c.SyncApps([]*sources.App{e.app("/open", "open.test"), e.redirected(), passed, service})
		open := request{host: "open.test", path: "/", from: proxyAddress, first: proxyV1("203.0.113.7", 80)}
		e.eventually(t, open, fromApp("/open"))
		open.tls, open.sni = true, "open.test"
		e.eventually(t, open, fromApp("/open"))
		t.Run("claims", e.testProxyClaims)
		t.Run("scheme", e.testProxyScheme)
		t.Run("services", func(t *testing.T) { e.testProxyServices(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)) })
	})
}

// testProxyClaims checks that who sends which header is taken for which client, or refused.
func (e *realEnvoy) testProxyClaims(t *testing.T) {
	for _, tt := range []struct{ from, first, said, client string }{
		{proxyAddress, proxyV1("203.0.113.7", 80), "", "203.0.113.7"},
		{proxyAddress, proxyV2("203.0.113.7", 80), "", "203.0.113.7"},
		{proxyAddress, proxyV1("2001:db8::7", 80), "", "2001:db8::7"},
		{proxyAddress, proxyV2("2001:db8::7", 80), "", "2001:db8::7"},
		{proxyAddress, proxyLocal, "", proxyAddress},
		// The client by the header is no proxy, or it is another one.
		{proxyAddress, proxyV1("203.0.113.7", 80), "198.51.100.1", "203.0.113.7"},
		{proxyAddress, proxyV2("10.1.1.1", 80), "198.51.100.1", "198.51.100.1"},
		{proxyAddress, "", "", ""},
		{proxyAddress, "PROXY nonsense\r\n", "", ""},
		{clientAddress, "", "", ""},
		{clientAddress, proxyV1("203.0.113.7", 80), "", ""},
		{clientAddress, proxyV2("203.0.113.7", 80), "", ""},
		{clientAddress, proxyV1(proxyAddress, 80), "203.0.113.7", ""},
		{clientAddress, proxyLocal, "", ""},
	} {
		for _, secure := range []bool{false, true} {
			r := request{host: "open.test", path: "/", tls: secure, sni: "open.test", from: tt.from, first: tt.first, header: saysOne()}
			if tt.said != "" {
				r.header.Set("X-Forwarded-For", tt.said)
			}
			a, err := e.send(t.Context(), r)
			switch {
			case tt.client == "" && err == nil:
				t.Errorf("from %s with %q by TLS %v: %+v, want no answer", tt.from, tt.first, secure, a)
			case tt.client != "" && (err != nil || !told(a, "X-Envoy-External-Address", tt.client)):
				t.Errorf("from %s with %q by TLS %v: %+v, %v; want the client %s", tt.from, tt.first, secure, a, err, tt.client)
			}
		}
	}
}

// testProxyScheme checks that plain HTTP for the public port of HTTPS has come by HTTPS: the
// balancer has ended the TLS.
func (e *realEnvoy) testProxyScheme(t *testing.T) {
	for _, tt := range []struct {
		first, said, port string
		served            bool
	}{
		{proxyV1("203.0.113.7", 443), "", "443", true},
		{proxyV2("203.0.113.7", 443), "http", "443", true},
		{proxyV2("203.0.113.7", 80), "", "80", false},
		{proxyV2("203.0.113.7", 80), "https", "80", false},
		{proxyV2("10.1.1.1", 80), "https", "80", true},
	} {
		r := request{host: "secure.test", path: "/", from: proxyAddress, first: tt.first, header: saysOne()}
		if tt.said != "" {
			r.header.Set("X-Forwarded-Proto", tt.said)
		}
		a, err := e.send(t.Context(), r)
		if err != nil || tt.served && (!fromApp("/secure")(a) || !told(a, "X-Forwarded-Proto", "https") || !told(a, "X-Forwarded-Port", tt.port)) || !tt.served && a.status != 301 {
			t.Errorf("with %q and %q: %+v, %v; want it served %v", tt.first, tt.said, a, err, tt.served)
		}
	}
}

// testProxyServices checks that neither a TCP service that takes the header, nor TLS that is
// passed through to clients of some networks, believes anybody.
func (e *realEnvoy) testProxyServices(t *testing.T, service netip.AddrPort) {
	hello := clientHello(t, "passed.test")
	for _, tt := range []struct {
		address      netip.AddrPort
		from, first  string
		then, answer string
	}{
		{e.fleet.HTTPS, proxyAddress, proxyV1("203.0.113.7", 443), hello, "hello"},
		{e.fleet.HTTPS, proxyAddress, proxyV1("198.51.100.1", 443), hello, ""},
		{e.fleet.HTTPS, clientAddress, proxyV1("203.0.113.7", 443), hello, ""},
		{e.fleet.HTTPS, clientAddress, "", hello, ""},
		{service, proxyAddress, proxyV2("203.0.113.7", 443), "", "hello"},
		{service, clientAddress, proxyV2("203.0.113.7", 443), "", ""},
		{service, clientAddress, "", "who am I to you?", ""},
	} {
		e.until(t, fmt.Sprintf("%s answers %q to %s with %q", tt.address, tt.answer, tt.from, tt.first), func() bool {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(tt.from)}, Timeout: patience}
			conn, err := dialer.DialContext(t.Context(), "tcp", tt.address.String())
			if err != nil {
				return false
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, tt.first+tt.then)
			got, _ := io.ReadAll(conn)
			return string(got) == tt.answer
		})
	}
}

// greeter is a service that greets whoever connects.
func greeter(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// clientHello is what a client sends first that asks for a name by TLS.
func clientHello(t *testing.T, name string) string {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, &tls.Config{ServerName: name}).Handshake()
	}()
	defer func() { _ = server.Close(); <-done }()
	record := make([]byte, 5)
	if _, err := io.ReadFull(server, record); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, binary.BigEndian.Uint16(record[3:]))
	if _, err := io.ReadFull(server, rest); err != nil {
		t.Fatal(err)
	}
	return string(append(record, rest...))
}
