package envoytest_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/certs"
	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// revoking has an Envoy ask for client certificates, whose authorities and lists are the secret "n".
func revoking(t *testing.T, version string) *testEnvoy {
	t.Helper()
	e := newTestEnvoy(t, version)
	askForListeners(e)
	certificate := buildSecret(e, "certificate", good).(*tlsv3.Secret).GetTlsCertificate()
	chain := chainWith(t, "n", nil)
	chain.TransportSocket.GetTypedConfig().MarshalFrom(&tlsv3.DownstreamTlsContext{
		RequireClientCertificate: wrapperspb.Bool(true),
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsCertificates:       []*tlsv3.TlsCertificate{certificate},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: secretOf("n")},
		},
	})
	e.accepted(listeners.url, named{"tls", "1", e.tlsListener(chain)})
	e.awaitRequest(secrets.url, "n")
	return e
}

// revoke sends authorities and lists, and returns why Envoy rejects them.
func (e *testEnvoy) revoke(authorities, lists []byte, leafOnly bool) (rejection string) {
	e.t.Helper()
	e.marks++
	return e.send(secrets.url, []named{{"n", fmt.Sprint(e.marks), &tlsv3.Secret{Name: "n", Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inlineBytes(authorities), Crl: optional(lists), OnlyVerifyLeafCertCrl: leafOnly},
	}}}})
}

// letsIn reports whether a client with a certificate gets an answer, and is not told why not. Until
// Envoy has the secret, connections end without a word.
func (e *testEnvoy) letsIn(client *certstest.Issued) bool {
	e.t.Helper()
	pair, err := tls.X509KeyPair(certstest.Join(client.Leaf, client.Chain), client.Key)
	if err != nil {
		e.t.Fatal(err)
	}
	config := &tls.Config{ServerName: "n.test", InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
	for deadline := time.Now().Add(maxWait); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		conn, err := tls.Dial("tcp", e.at(""), config)
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		if err == nil || strings.Contains(err.Error(), "remote error: tls") {
			return err == nil
		}
	}
	e.t.Fatal("Envoy says nothing")
	return false
}

// Whatever byte of a list is damaged, Envoy takes it if Relay does.
func TestDamagedRevocationLists(t *testing.T) {
	t.Parallel()
	root := certstest.TestRoot(t, "devices", time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
	point := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 0xff}}
	block, _ := pem.Decode(root.TestRevoke(t, certstest.ListOptions{Change: func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{
			{SerialNumber: big.NewInt(5), RevocationTime: time.Now(), ReasonCode: 1},
			{SerialNumber: big.NewInt(70000), RevocationTime: time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC)},
		}
		l.ExtraExtensions = []pkix.Extension{point}
	}}))
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := revoking(t, version)
		taken := 0
		for i := range block.Bytes {
			for bit := range 8 {
				damaged := append([]byte{}, block.Bytes...)
				damaged[i] ^= 1 << bit
				if _, err := certs.ParseRevocations(damaged); err != nil {
					continue
				}
				taken++
				list := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: damaged})
				if rejection := e.revoke(root.PEM(), list, true); rejection != "" {
					t.Errorf("bit %d of byte %d was changed: Relay accepts it, Envoy says: %s\n%s", bit, i, rejection, hex.EncodeToString(damaged))
				}
			}
		}
		if taken < 100 {
			t.Errorf("only %d damaged lists were tried", taken)
		}
	})
}

// The longest list that Relay takes reaches an Envoy, and clients are let in and kept out by it.
func TestLongRevocationList(t *testing.T) {
	t.Parallel()
	root := certstest.TestRoot(t, "devices", time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
	serials := make([]int64, 135_000)
	for i := range serials {
		serials[i] = int64(i + 1)
	}
	list := root.TestRevoke(t, certstest.ListOptions{}, serials...)
	if _, err := certs.ParseRevocations(list); err != nil || len(list) < certs.MaxRevocationText*8/10 {
		t.Fatalf("%d bytes, %v", len(list), err)
	}
	e := revoking(t, envoytest.Newest)
	if rejection := e.revoke(root.PEM(), list, true); rejection != "" {
		t.Fatal(rejection)
	}
	device := func(serial int64) *certstest.Issued {
		return root.TestIssue(t, []string{"device"}, certstest.Options{Serial: serial})
	}
	if !e.letsIn(device(200_000)) || e.letsIn(device(77_777)) {
		t.Error("the list is not gone by")
	}
	kept := device(200_000)
	start := time.Now()
	for range 50 {
		e.letsIn(kept)
	}
	t.Logf("%d bytes: %s each handshake", len(list), time.Since(start)/50)
	if rejection := e.revoke(root.PEM(), root.TestRevoke(t, certstest.ListOptions{}), true); rejection != "" {
		t.Fatal(rejection)
	}
	for !e.letsIn(device(77_777)) {
	}
	start = time.Now()
	for range 50 {
		e.letsIn(kept)
	}
	t.Logf("empty: %s each handshake", time.Since(start)/50)
}

// What Relay says of lists is what Envoy makes of them.
func TestWhatEnvoyMakesOfLists(t *testing.T) {
	t.Parallel()
	from, to := time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0)
	a, b := certstest.TestRoot(t, "a", from, to), certstest.TestRoot(t, "b", from, to)
	same := certstest.TestRoot(t, "a", from, to) // of the same name, with another key
	sub := a.Sub(t, "sub", from, to)
	client := func(authority *certstest.Authority, serial int64) *certstest.Issued {
		return authority.TestIssue(t, []string{"device"}, certstest.Options{Serial: serial})
	}
	good, revoked, other, bySame, bySub := client(a, 4), client(a, 5), client(b, 4), client(same, 6), client(sub, 4)
	list := func(authority *certstest.Authority, o certstest.ListOptions, serials ...int64) []byte {
		return authority.TestRevoke(t, o, serials...)
	}
	now := certstest.ListOptions{}
	past := certstest.ListOptions{ThisUpdate: time.Now().AddDate(0, 0, -9), NextUpdate: time.Now().AddDate(0, 0, -1)}
	future := certstest.ListOptions{ThisUpdate: time.Now().Add(time.Hour)}
	point := certstest.ListOptions{Change: func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: append([]byte{0x30, 14, 0xa0, 12, 0xa0, 10, 0x86, 8}, "http://x"...)}}
	}}
	reason := certstest.ListOptions{Change: func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	}}
	for name, test := range map[string]struct {
		authorities, lists []byte
		leafOnly           bool
		in, out            []*certstest.Issued
	}{
		"revoked":                 {a.PEM(), list(a, now, 5), false, []*certstest.Issued{good}, []*certstest.Issued{revoked, other}},
		"one without list":        {certstest.Join(a.PEM(), b.PEM()), list(a, now, 5), true, []*certstest.Issued{good}, []*certstest.Issued{revoked, other}},
		"both with list":          {certstest.Join(a.PEM(), b.PEM()), certstest.Join(list(a, now, 5), list(b, now)), true, []*certstest.Issued{good, other}, []*certstest.Issued{revoked}},
		"out of date":             {a.PEM(), list(a, past, 5), true, nil, []*certstest.Issued{good, revoked}},
		"not valid yet":           {a.PEM(), list(a, future, 5), true, nil, []*certstest.Issued{good, revoked}},
		"distribution point":      {a.PEM(), list(a, point, 5), true, nil, []*certstest.Issued{good, revoked}},
		"critical":                {a.PEM(), list(a, reason, 5), true, nil, []*certstest.Issued{good, revoked}},
		"same name, one list":     {certstest.Join(a.PEM(), same.PEM()), list(a, now, 5), true, []*certstest.Issued{good}, []*certstest.Issued{revoked, bySame}},
		"same name, two lists":    {certstest.Join(a.PEM(), same.PEM()), certstest.Join(list(a, now, 5), list(same, now, 9)), true, []*certstest.Issued{good, bySame}, []*certstest.Issued{revoked}},
		"same name, lists turned": {certstest.Join(same.PEM(), a.PEM()), certstest.Join(list(same, now, 9), list(a, now, 5)), true, []*certstest.Issued{good, bySame}, []*certstest.Issued{revoked}},
		"leaf only, list of sub":  {certstest.Join(a.PEM(), sub.PEM()), list(sub, now, 9), true, []*certstest.Issued{bySub}, []*certstest.Issued{good}},
		"all, list of sub":        {certstest.Join(a.PEM(), sub.PEM()), list(sub, now, 9), false, nil, []*certstest.Issued{bySub, good}},
		"all, lists of both":      {certstest.Join(a.PEM(), sub.PEM()), certstest.Join(list(a, now, 5), list(sub, now, 9)), false, []*certstest.Issued{bySub, good}, []*certstest.Issued{revoked}},
		"sub alone, leaf only":    {sub.PEM(), list(sub, now, 9), true, []*certstest.Issued{bySub}, []*certstest.Issued{good}},
		"sub alone, no list":      {sub.PEM(), nil, true, []*certstest.Issued{bySub}, []*certstest.Issued{good}},
		"root alone, list of sub": {a.PEM(), list(sub, now, 9), true, []*certstest.Issued{bySub}, []*certstest.Issued{good}},
		"leaf only, revoked sub":  {certstest.Join(a.PEM(), sub.PEM()), certstest.Join(list(a, now, sub.Certificate().SerialNumber.Int64()), list(sub, now, 9)), true, []*certstest.Issued{bySub}, nil},
		"all, revoked sub":        {certstest.Join(a.PEM(), sub.PEM()), certstest.Join(list(a, now, sub.Certificate().SerialNumber.Int64()), list(sub, now, 9)), false, nil, []*certstest.Issued{bySub}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			envoytest.ForEachVersion(t, func(t *testing.T, version string) {
				e := revoking(t, version)
				if rejection := e.revoke(test.authorities, test.lists, test.leafOnly); rejection != "" {
					t.Fatal(rejection)
				}
				for i, c := range test.in {
					if !e.letsIn(c) {
						t.Errorf("client %d is refused", i)
					}
				}
				for i, c := range test.out {
					if e.letsIn(c) {
						t.Errorf("client %d is let in that must not be", i)
					}
				}
			})
		})
	}
}

func optional(lists []byte) *corev3.DataSource {
	if lists == nil {
		return nil
	}
	return inlineBytes(lists)
}
