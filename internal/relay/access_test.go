package relay

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"relay/certs/certstest"
	"relay/internal/files"
)

// Only an endpoint that is for this machine, and asks for nothing, minds by which
// name it is asked.
func TestNamesOfThisMachine(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		port AdminPort
		want bool
	}{
		{AdminPort{Address: "127.0.0.1:9090"}, true},
		{AdminPort{Address: "localhost:9090", HookNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, true},
		{AdminPort{Address: "127.0.0.1:9090", TokenFile: token}, false},
		{AdminPort{Address: "127.0.0.1:9090", TLS: PortTLS{CertFile: "c", KeyFile: "k", ClientCAFile: "a"}}, false},
		{AdminPort{Address: ":9090", Open: true}, false},
	} {
		access, err := tt.port.access()
		if err != nil || access.ThisMachine != tt.want {
			t.Errorf("%+v: ThisMachine %v, want %v; error %v", tt.port, access.ThisMachine, tt.want, err)
		}
	}
}

func TestMatchName(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.test", "A.test", true}, {"*.test", "a.test", true}, {"*.test", "a.b.test", false}, {"*.test", "test", false},
		{"a.test", "b.test", false}, {"spiffe://a/b", "spiffe://a/b", true},
	} {
		if got := matchName(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchName(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}

// What let an Envoy in is asked again for as long as it stays: whether its
// certificate is in date, and of an authority that still counts.
func TestCertificateOfAnEnvoyThatStays(t *testing.T) {
	t.Parallel()
	ca, other := certstest.TestCA(t), certstest.TestCA(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca.RootPEM())
	secured := &serverTLS{PortTLS: PortTLS{ClientCAFile: file}}
	secured.CertFile, secured.KeyFile = ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, dir)
	if _, err := secured.listen(); err != nil {
		t.Fatal(err)
	}
	rules := clientRules{tls: secured, names: map[string][]string{"external": {"*.edge.test"}, "open": nil}}
	shows := func(o certstest.Options) *peer.Peer {
		t.Helper()
		issued := ca.TestIssue(t, []string{"one.edge.test"}, o)
		var chain []*x509.Certificate
		for _, text := range [][]byte{issued.Leaf, ca.RootPEM()} {
			path := filepath.Join(t.TempDir(), "c.pem")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			parsed, err := files.Authorities(path)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, parsed...)
		}
		return &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{chain}}}}
	}
	good := shows(certstest.Options{})
	expired := shows(certstest.Options{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Second)})
	stays := func(p *peer.Peer, want string) {
		t.Helper()
		for _, fleet := range []string{"external", "open"} {
			if err := rules.authorize(p, fleet); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("fleet %s: %v, want %q", fleet, err, want)
			}
		}
	}
	next := func(data []byte) {
		t.Helper()
		write(data)
		secured.checked = time.Time{} // a second later
	}
	stays(good, "")
	stays(expired, "has expired since it connected")
	next([]byte("broken"))
	stays(good, "")
	next(certstest.Join(other.RootPEM(), ca.RootPEM()))
	stays(good, "")
	next(other.RootPEM())
	stays(good, "was taken out of "+file)
}
