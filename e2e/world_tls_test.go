package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
)

// tlsClients look at how Envoy answers handshakes of TLS.
type tlsClients struct {
	t       *testing.T
	certs   *certificates
	clients *clients
	tcp     *tcpClients
}

// shown connects with a server name of any bytes, none if it is empty, and
// returns the first name of the certificate that it is shown; none when there is
// no handshake.
func (c *tlsClients) shown(serverName string) string {
	c.t.Helper()
	start := time.Now()
	name := c.shownAtLast(serverName)
	// Envoy waits for 15 s for a certificate that does not come.
	if took := time.Since(start); took > 12*time.Second {
		c.t.Errorf("server name %q: the handshake took %s", serverName, took)
	}
	return name
}

// shownAtLast is shown however long the handshake takes.
func (c *tlsClients) shownAtLast(serverName string) string {
	c.t.Helper()
	config := c.certs.ca.ClientTLS()
	config.InsecureSkipVerify = true
	config.ServerName = serverName
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", c.clients.https, config)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
}

// wantShown waits until the certificate for a server name is the one wanted.
func (c *tlsClients) wantShown(serverName, want string) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("server name %q", serverName), func() error {
		if got := c.shown(serverName); got != want {
			return fmt.Errorf("shown the certificate of %q, want %q", got, want)
		}
		return nil
	})
}

// presents waits until clients that ask for a server name are shown the
// certificate with this serial; 0 is none. An empty name is not sent.
func (c *tlsClients) presents(serverName string, serial int64) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("serial %d for %q", serial, serverName), func() error {
		conn, err := c.dialTLS(serverName, serial)
		if err == nil {
			_ = conn.Close()
		}
		if serial == 0 && err == nil {
			return errors.New("there is a certificate")
		}
		if serial == 0 {
			return nil
		}
		return err
	})
}

// dialTLS asks for a name; serial is what the certificate must have, 0 for any.
func (c *tlsClients) dialTLS(name string, serial int64) (lineConn, error) {
	raw, err := c.tcp.dial(c.clients.https, nil, "")
	if err != nil {
		return lineConn{}, err
	}
	// A certificate of another name counts as an answer too.
	conn := tls.Client(raw.Conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(c.t.Context()); err != nil {
		_ = raw.Close()
		return lineConn{}, err
	}
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); serial != 0 && got != serial {
		_ = raw.Close()
		return lineConn{}, fmt.Errorf("the certificate has serial %d", got)
	}
	return lineConn{conn, bufio.NewReader(conn)}, nil
}

// turnedAway returns nil if Envoy breaks off connections of a client because of what
// it shows. The client only listens: what it sends might cut the answer off.
func (c *tlsClients) turnedAway(client *http.Client) error {
	config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "a.test"
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", c.clients.https, config)
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "remote error: tls") {
		return fmt.Errorf("%v, want it to be refused", err)
	}
	return nil
}

// resumes asks for a page, and reports whether a session was resumed.
func (c *tlsClients) resumes(version uint16, cache tls.ClientSessionCache) (bool, error) {
	config := c.certs.ca.ClientTLS()
	config.ServerName, config.ClientSessionCache, config.MinVersion, config.MaxVersion = "a.test", cache, version, version
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", c.clients.https, config)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	// With TLS 1.3 the ticket comes before the answer.
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		return false, err
	}
	if _, err = io.ReadAll(conn); err != nil {
		return false, err
	}
	return conn.ConnectionState().DidResume, nil
}

// clientAs is a client that shows a certificate.
func (c *tlsClients) clientAs(ca *certstest.CA, name string) *http.Client {
	c.t.Helper()
	issued := ca.TestIssue(c.t, []string{name}, certstest.Options{})
	pair, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
	if err != nil {
		c.t.Fatal(err)
	}
	client := c.clients.client(false)
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	return client
}
