package envoy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// aClient takes part in handshakes with some kinds of keys.
type aClient struct {
	name    string
	openssl []string    // arguments of openssl s_client
	config  *tls.Config // of Go's client, if openssl is nil
}

var (
	onlyRSA    = aClient{name: "openssl, RSA by TLS 1.2", openssl: []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}}
	onlyECDSA  = aClient{name: "openssl, ECDSA by TLS 1.2", openssl: []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}}
	onlyRSA13  = aClient{name: "openssl, RSA by TLS 1.3", openssl: []string{"-tls1_3", "-sigalgs", "RSA-PSS+SHA256"}}
	without384 = aClient{name: "openssl, P-256 and RSA by TLS 1.3", openssl: []string{"-tls1_3", "-sigalgs", "ECDSA+SHA256:RSA-PSS+SHA256"}}
	goClient   = aClient{name: "Go", config: &tls.Config{}}
	// odd says that it takes signatures by ECDSA, though none of its cipher suites does. Envoy
	// believes the first if a client sends a list of versions, as Go's client always does.
	odd = aClient{name: "Go, RSA by TLS 1.2", config: &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}}
)

var subject = regexp.MustCompile(`(?m)^subject=CN ?= ?(\S+)`)

// shown returns the common name of the certificate that a client is shown; empty if there is
// no handshake.
func (c aClient) shown(t *testing.T, e *realEnvoy, sni string) string {
	t.Helper()
	if c.openssl == nil {
		conn, err := c.dial(e, sni)
		if err != nil {
			return ""
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	arguments := append([]string{"s_client", "-connect", e.fleet.HTTPS.String()}, c.openssl...)
	if sni == "" {
		arguments = append(arguments, "-noservername")
	} else {
		arguments = append(arguments, "-servername", sni)
	}
	// It fails where there is no handshake; without openssl it is not found.
	out, err := exec.CommandContext(t.Context(), "openssl", arguments...).Output()
	if m := subject.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Fatalf("openssl: %v: run \"make tools\" as root, or install it", err)
	}
	return ""
}

func (c aClient) dial(e *realEnvoy, sni string) (*tls.Conn, error) {
	config := c.config.Clone()
	config.ServerName, config.InsecureSkipVerify = sni, true
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", e.fleet.HTTPS.String(), config)
}

// wantShown waits until clients are shown the certificate with a common name.
func (e *realEnvoy) wantShown(t *testing.T, c aClient, sni, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if got = c.shown(t, e, sni); got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, server name %q: shown %q, want %q", c.name, sni, got, want)
		}
	}
}

// keptAlive is a connection that stays open between requests.
type keptAlive struct {
	*tls.Conn
	answers *bufio.Reader
}

func (k keptAlive) ask(host string) error {
	_ = k.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(k, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return err
	}
	answer, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || answer.Close || !bytes.Contains(body, []byte("app /app"))) {
		err = fmt.Errorf("answered %s, close %v: %.100q", answer.Status, answer.Close, body)
	}
	return err
}

func (e *realEnvoy) keepAlive(t *testing.T, c aClient, host string) keptAlive {
	t.Helper()
	conn, err := c.dial(e, host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	k := keptAlive{conn, bufio.NewReader(conn)}
	if err := k.ask(host); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return k
}

// A name that has an RSA and an ECDSA certificate is served with both, to clients that take
// one only too. A renewal of either closes no connection, and touches no listener; nor does a
// second certificate of another name. Sessions are resumed as with one certificate. Where one of
// the two has ended, the other is served.
func TestTwoCertificatesOfAName(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		of := func(cn string, options certstest.Options, names ...string) *certs.Certificate {
			options.CommonName = cn
			return e.issue(strings.Split(cn, "-")[0], options, names...)
		}
		rsaKey := certstest.Options{KeyType: certstest.RSA2048}
		rsa, ecdsa := of("rsa", rsaKey, "a.test", "b.test"), of("ecdsa", certstest.Options{}, "a.test", "c.test")
		default1, default2 := of("defaultrsa", rsaKey), of("defaultecdsa", certstest.Options{})
		default1.Default, default2.Default = true, true
		p384 := of("p384", certstest.Options{KeyType: certstest.P384}, "d.test")
		beside := of("beside", rsaKey, "d.test")
		others := []*certs.Certificate{default1, default2, p384}
		with := func(more ...*certs.Certificate) []*certs.Certificate { return append(more, others...) }
		e.c.SyncApps([]*sources.App{e.app("/app", "a.test", "b.test", "c.test", "d.test")})
		e.c.SyncCertificates("vault", with(rsa, ecdsa), nil)

		e.wantBothKinds(t)
		taken := e.listenersTaken(t)
		open := []keptAlive{e.keepAlive(t, goClient, "a.test"), e.keepAlive(t, goClient, "b.test"), e.keepAlive(t, goClient, "c.test")}
		hosts := []string{"a.test", "b.test", "c.test"}
		// The RSA one lasts longer, then the ECDSA one again.
		rsa = of("rsa-renewed", certstest.Options{KeyType: certstest.RSA2048, NotAfter: time.Now().AddDate(0, 0, 100)}, "a.test", "b.test")
		e.c.SyncCertificates("vault", with(rsa, ecdsa), nil)
		e.wantShown(t, onlyRSA, "a.test", "rsa-renewed")
		ecdsa = of("ecdsa-renewed", certstest.Options{NotAfter: time.Now().AddDate(0, 0, 110)}, "a.test", "c.test")
		e.c.SyncCertificates("vault", with(rsa, ecdsa), nil)
		e.wantShown(t, onlyECDSA, "a.test", "ecdsa-renewed")
		e.wantShown(t, onlyRSA, "a.test", "rsa-renewed")
		if now := e.listenersTaken(t); now != taken {
			t.Errorf("renewals touched listeners: %d were taken in, %d before", now, taken)
		}
		// A client without P-384 gets a certificate now.
		e.c.SyncCertificates("vault", with(rsa, ecdsa, beside), nil)
		e.wantShown(t, without384, "d.test", "beside")
		e.wantShown(t, goClient, "d.test", "p384")
		for i, k := range open {
			if err := k.ask(hosts[i]); err != nil {
				t.Errorf("connection %d, to %s, after renewals and a second certificate of d.test: %v", i, hosts[i], err)
			}
		}
		for name, tlsVersion := range tlsVersions {
			if resumed, err := e.resumed(goClient, tlsVersion); err != nil || !resumed {
				t.Errorf("%s: resumed %t, %v", name, resumed, err)
			}
		}

		ended := of("ecdsa-ended", certstest.Options{NotBefore: time.Now().AddDate(0, 0, -90), NotAfter: time.Now().Add(-time.Hour)}, "a.test", "c.test")
		e.c.SyncCertificates("vault", with(rsa, ended, beside), nil)
		e.wantShown(t, goClient, "a.test", "rsa-renewed")
		e.wantShown(t, onlyECDSA, "a.test", "")
		e.wantShown(t, goClient, "c.test", "ecdsa-ended")
	})
}

// wantBothKinds waits until each client is shown the certificate of a name that it takes.
func (e *realEnvoy) wantBothKinds(t *testing.T) {
	t.Helper()
	for _, want := range []struct {
		client     aClient
		sni, shown string
	}{
		{goClient, "a.test", "ecdsa"}, {odd, "a.test", ""}, {onlyECDSA, "a.test", "ecdsa"}, {onlyRSA, "a.test", "rsa"}, {onlyRSA13, "a.test", "rsa"},
		{odd, "b.test", "rsa"}, {goClient, "b.test", "rsa"}, {onlyECDSA, "b.test", ""}, {onlyRSA, "b.test", "rsa"},
		{goClient, "c.test", "ecdsa"}, {onlyRSA, "c.test", ""},
		{goClient, "d.test", "p384"}, {without384, "d.test", ""},
		{goClient, "else.test", "defaultecdsa"}, {onlyRSA, "else.test", "defaultrsa"}, {onlyRSA, "", "defaultrsa"}, {goClient, "", "defaultecdsa"},
	} {
		e.wantShown(t, want.client, want.sni, want.shown)
	}

}

// resumed reports whether the second of two connections resumes the session of the first.
func (e *realEnvoy) resumed(c aClient, version uint16) (bool, error) {
	c.config = c.config.Clone()
	c.config.MinVersion, c.config.MaxVersion, c.config.ClientSessionCache = version, version, new(oneSession)
	for i := 0; ; i++ {
		conn, err := c.dial(e, "a.test")
		if err != nil {
			return false, err
		}
		k := keptAlive{conn, bufio.NewReader(conn)}
		err = k.ask("a.test")
		resumed := conn.ConnectionState().DidResume
		_ = conn.Close()
		if err != nil || i > 0 {
			return resumed, err
		}
	}
}

// The chain that is sent is one that clients accept: the issuer that has ended is not in it, and
// what another root signed no longer is either. A client with the root of today accepts it.
func TestChainIsSentThatClientsAccept(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	day := func(n int) time.Time { return time.Now().AddDate(0, 0, n) }
	root := certstest.TestRoot(t, "Root", day(-900), day(900))
	ended := root.Sub(t, "Sub", day(-400), day(-2))
	next := root.Sign(t, ended, day(-30), day(800))
	crossEnded := certstest.TestRoot(t, "Old Root", day(-5000), day(-50)).Sign(t, root, day(-900), day(-5))
	bad := ended.TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: day(-10), NotAfter: day(80)})
	good := next.TestIssue(t, []string{"a.test", "b.test"}, certstest.Options{NotBefore: day(-10), NotAfter: day(70)})
	parse := func(name string, bundle ...[]byte) *certs.Certificate {
		c, _, err := certs.ParsePEM(certstest.Join(bundle...))
		if err != nil {
			t.Fatal(err)
		}
		c.Source, c.Name = "vault", name
		return c
	}
	e.c.SyncApps([]*sources.App{e.app("/app", "a.test", "b.test")})
	e.c.SyncCertificates("vault", []*certs.Certificate{
		parse("bad", bad.Bundle()), parse("good", good.Key, good.Leaf, ended.PEM(), crossEnded.PEM(), next.PEM()),
	}, nil)
	trusted := x509.NewCertPool()
	trusted.AddCert(root.Certificate())
	for _, name := range []string{"a.test", "b.test"} {
		e.until(t, name+" is accepted", func() bool {
			conn, err := tls.Dial("tcp", e.fleet.HTTPS.String(), &tls.Config{ServerName: name, RootCAs: trusted})
			if err != nil {
				return false
			}
			defer func() { _ = conn.Close() }()
			if sent := conn.ConnectionState().PeerCertificates; len(sent) != 2 || !sent[1].Equal(next.Certificate()) {
				t.Errorf("%s: %d certificates are sent, want the leaf and its issuer that is valid", name, len(sent))
			}
			return true
		})
	}
}

// With certificates on demand too, a name with two certificates is served with both; when the
// second one comes, connections of other names stay.
func TestTwoCertificatesOnDemand(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.CertificatesOnDemand = true })
	of := func(name string, kind certstest.KeyType, names ...string) *certs.Certificate {
		return e.issue(name, certstest.Options{CommonName: name, KeyType: kind}, names...)
	}
	all := []*certs.Certificate{of("rsa", certstest.RSA2048, "a.test", "b.test"), of("ecdsa", certstest.P256, "a.test"), of("other", certstest.P256, "c.test"), of("later", certstest.P256, "b.test")}
	e.c.SyncApps([]*sources.App{e.app("/app", "a.test", "b.test", "c.test")})
	e.c.SyncCertificates("vault", all[:3], nil)
	e.wantShown(t, goClient, "a.test", "ecdsa")
	e.wantShown(t, onlyRSA, "a.test", "rsa")
	e.wantShown(t, goClient, "b.test", "rsa")
	open := e.keepAlive(t, goClient, "c.test")
	e.c.SyncCertificates("vault", all[1:], nil)
	e.wantShown(t, goClient, "b.test", "later")
	e.wantShown(t, onlyRSA, "b.test", "")
	e.c.SyncCertificates("vault", append(all[:0:0], all[1], all[2], all[3], of("rsa", certstest.RSA2048, "b.test")), nil)
	e.wantShown(t, onlyRSA, "b.test", "rsa")
	e.wantShown(t, goClient, "b.test", "later")
	if err := open.ask("c.test"); err != nil {
		t.Errorf("the connection of c.test: %v", err)
	}
}
