package envoy_test

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs"
	"relay/proxytlv"
	"relay/sources"
)

// deviceCA is an authority that signs certificates of devices, and lists of those that are revoked.
type deviceCA struct {
	certificate *x509.Certificate
	key         crypto.Signer
	issuer      *deviceCA
	issued      int64
}

func newDeviceCA(t testing.TB, name string, issuer *deviceCA) *deviceCA {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca := &deviceCA{issuer: issuer}
	ca.certificate, ca.key = signDevice(t, template, issuer)
	return ca
}

func signDevice(t testing.TB, template *x509.Certificate, issuer *deviceCA) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, crypto.Signer(key)
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// device signs a certificate with some URIs. What changes it may be nil.
func (ca *deviceCA) device(t testing.TB, change func(*x509.Certificate), uris ...string) tls.Certificate {
	t.Helper()
	ca.issued++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x1000 + ca.issued), Subject: pkix.Name{CommonName: fmt.Sprint("device ", ca.issued), Organization: []string{"Acme, Inc."}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, text := range uris {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	if change != nil {
		change(template)
	}
	leaf, key := signDevice(t, template, ca)
	shown := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	for above := ca; above.issuer != nil; above = above.issuer {
		shown.Certificate = append(shown.Certificate, above.certificate.Raw)
	}
	return shown
}

// list is a list of revoked certificates that holds until a moment.
func (ca *deviceCA) list(t testing.TB, until time.Time, revoked ...*x509.Certificate) []byte {
	t.Helper()
	var entries []x509.RevocationListEntry
	for _, c := range revoked {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Minute)})
	}
	ca.issued++
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(ca.issued), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: until, RevokedCertificateEntries: entries,
	}, ca.certificate, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// authorityOf is what a store says of authorities and their lists.
func authorityOf(name string, lists []byte, all ...*deviceCA) *certs.Authority {
	var authorities []*x509.Certificate
	for _, ca := range all {
		authorities = append(authorities, ca.certificate)
	}
	var revoked []*certs.RevocationList
	if lists != nil {
		revoked, _ = certs.ParseRevocations(lists)
	}
	return certs.NewAuthority("vault", name, authorities, revoked)
}

// deviceServer is an instance that speaks first: it says what Envoy told it of the client, and then
// what the client says.
type deviceServer struct {
	address  string
	accepted atomic.Int64
}

func (e *realEnvoy) deviceServer() *deviceServer {
	s := new(deviceServer)
	s.address = e.instance(func(conn *net.TCPConn) {
		s.accepted.Add(1)
		header, err := proxytlv.Read(conn)
		if err != nil {
			_, _ = fmt.Fprintf(conn, "%q\n", err)
			return
		}
		told := map[string]string{"from": header.Source.String()}
		for _, kind := range proxytlv.Types() {
			if v := header.Value(kind); v != "" {
				told[fmt.Sprintf("%02x", byte(kind))] = v
			}
		}
		if json.NewEncoder(conn).Encode(told) == nil {
			_, _ = io.Copy(conn, conn)
		}
	})
	return s
}

// deviceApp is a TCP service whose TLS Envoy ends.
func deviceApp(id string, port uint16, t sources.ServiceTLS, server *deviceServer, names ...string) *sources.App {
	app := serviceApp(id, sources.TCP{Port: port, Address: netip.MustParseAddr("127.0.0.1"), ServiceTLS: &t}, names...)
	return changed(app, func(p *sources.Port) {
		p.Upstream, p.Endpoints = &sources.Upstream{ProxyProtocol: 2}, endpoints(server.address)
	})
}

// client is how a device connects.
type client struct {
	shown      []tls.Certificate
	serverName string
	// before is sent before TLS, and inside as soon as there is TLS.
	before, inside string
	change         func(*tls.Config)
}

func as(c tls.Certificate) client { return client{shown: []tls.Certificate{c}} }

// deviceConn is a connection to a server, which has said what it was told.
type deviceConn struct {
	*tls.Conn
	lines *bufio.Reader
	told  map[string]string
}

// connect connects to a port, and waits until the server has said what it was told.
func (e *realEnvoy) connect(port uint16, c client) (*deviceConn, error) {
	conn, err := e.secured(port, c)
	if err != nil {
		return nil, err
	}
	line, err := conn.lines.ReadBytes('\n')
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, json.Unmarshal(line, &conn.told)
}

// firstLine is what a server says first.
func (e *realEnvoy) firstLine(port uint16, c client) (string, error) {
	conn, err := e.secured(port, c)
	if err != nil {
		return "", err
	}
	return conn.lines.ReadString('\n')
}

func (e *realEnvoy) secured(port uint16, c client) (*deviceConn, error) {
	raw, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() { _ = raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(raw, c.before); err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: c.serverName}
	if len(c.shown) > 0 {
		// Whatever authorities Envoy names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.shown[0], nil }
	}
	if c.change != nil {
		c.change(config)
	}
	conn := &deviceConn{Conn: tls.Client(raw, config)}
	conn.lines = bufio.NewReader(conn.Conn)
	if err := conn.Handshake(); err != nil {
		_ = raw.Close()
		return nil, err
	}
	_, err = io.WriteString(conn, c.inside)
	return conn, err
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }

// alive reports whether the server still answers.
func (c *deviceConn) alive() error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		return err
	}
	line, err := c.lines.ReadString('\n')
	if err == nil && line != "ping\n" {
		err = fmt.Errorf("answered %q", line)
	}
	return err
}

// letsIn waits until a client is let in.
func (e *realEnvoy) letsIn(t *testing.T, port uint16, c client) *deviceConn {
	t.Helper()
	var conn *deviceConn
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if conn, err = e.connect(port, c); err == nil {
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatalf("never let in: %v", err)
		}
	}
}

// keepsOut waits until a client is let in no more.
func (e *realEnvoy) keepsOut(t *testing.T, port uint16, c client) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := e.connect(port, c)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it is let in")
		}
	}
}

func fingerprintOf(c tls.Certificate) string {
	sum := crypto.SHA256.New()
	sum.Write(c.Certificate[0])
	return hex.EncodeToString(sum.Sum(nil))
}
