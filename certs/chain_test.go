package certs_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/certs/certstest"
	"relay/internal/cputest"
)

// moment is what is sent on a day, counted from noon, and what clients say to it.
type moment struct {
	day   int
	chain string // the authorities that are sent, in order
	// refused is why clients refuse the dates; empty if they accept them.
	refused string
	remark  string // a word of it
}

// pki are authorities, by the names that they have in a test.
type pki struct {
	named map[string]*certstest.Authority
}

func (p *pki) add(name string, a *certstest.Authority) *certstest.Authority {
	p.named[name] = a
	return a
}

func onDay(n int) time.Time { return noon.AddDate(0, 0, n) }

// sent names the authorities in a chain.
func (p *pki) sent(chain []byte) string {
	var names []string
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		for name, a := range p.named {
			if bytes.Equal(a.Certificate().Raw, block.Bytes) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, " ")
}

// wantAccepted fails if a client that has the roots given does not accept a chain, or does
// if it must not.
func wantAccepted(t *testing.T, chain []byte, at time.Time, roots []*x509.Certificate, want bool) {
	t.Helper()
	options := x509.VerifyOptions{DNSName: "a.test", CurrentTime: at, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	block, rest := pem.Decode(chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	options.Intermediates.AppendCertsFromPEM(rest)
	if _, err := leaf.Verify(options); (err == nil) != want {
		t.Errorf("on %s clients answer %v, accepted should be %v", at.Format(time.DateOnly), err, want)
	}
}

// The dates that count are those of the chain, and of several that can be made of a bundle
// the one is sent that clients accept, whatever the order of the bundle. Clients with the
// roots of today accept it whenever no date is told to be wrong.
func TestChainsFollowTheClock(t *testing.T) {
	t.Parallel()
	p := &pki{make(map[string]*certstest.Authority)}
	root := p.add("root", certstest.TestRoot(t, "Root", onDay(-900), onDay(900)))
	ended := p.add("ended", root.Sub(t, "Sub", onDay(-400), onDay(-2)))
	next := p.add("next", root.Sign(t, ended, onDay(-30), onDay(800)))
	soon := p.add("soon", root.Sign(t, ended, onDay(-400), onDay(20)))
	later := p.add("later", root.Sign(t, ended, onDay(10), onDay(800)))
	// As Let's Encrypt's were: a root that another one signed, which ends, or has ended.
	oldRoot := p.add("old root", certstest.TestRoot(t, "Old Root", onDay(-5000), onDay(-50)))
	crossed := p.add("crossed", oldRoot.Sign(t, root, onDay(-900), onDay(30)))
	crossEnded := p.add("cross ended", oldRoot.Sign(t, root, onDay(-900), onDay(-5)))
	leaf := ended.TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: onDay(-10), NotAfter: onDay(80)})
	direct := root.TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: onDay(-10), NotAfter: onDay(80)})

	for name, test := range map[string]struct {
		leaf        *certstest.Issued
		authorities []*certstest.Authority
		want        []moment
	}{
		"valid":                        {leaf, some(next), []moment{{0, "next", "", ""}, {79, "next", "", ""}, {81, "next", "expired on 2026-05-20", ""}, {-11, "next", "is not valid before 2026-02-19", ""}}},
		"issuer has ended":             {leaf, some(ended), []moment{{0, "ended", `expired on 2026-02-27 with its issuer "CN=Sub"`, ""}, {-3, "ended", "", ""}}},
		"issuer ends":                  {leaf, some(soon), []moment{{19, "soon", "", ""}, {21, "soon", `expired on 2026-03-21 with its issuer "CN=Sub"`, ""}}},
		"issuer begins":                {leaf, some(later), []moment{{0, "later", `is not valid before 2026-03-11 with its issuer "CN=Sub"`, ""}, {11, "later", "", ""}}},
		"ended beside the next one":    {leaf, some(ended, next), []moment{{0, "next", "", ""}, {79, "next", "", ""}}},
		"one after the other":          {leaf, some(soon, later), []moment{{0, "soon", "", ""}, {9, "soon", "", ""}, {11, "later", "", ""}, {79, "later", "", ""}}},
		"a gap between two":            {leaf, some(ended, later), []moment{{-3, "ended", "", ""}, {0, "later", `expired on 2026-02-27 with its issuer "CN=Sub"`, ""}, {11, "later", "", ""}}},
		"other root's signature ends":  {leaf, some(next, crossed), []moment{{0, "next crossed", "", ""}, {29, "next crossed", "", ""}, {31, "next", "", "above its issuer ended on 2026-03-31"}}},
		"… with the root":              {leaf, some(next, crossed, root), []moment{{29, "next crossed", "", ""}, {31, "next", "", ""}}},
		"other root's signature ended": {leaf, some(next, crossEnded), []moment{{0, "next", "", "ended on 2026-02-24"}}},
		"… with the root and others":   {leaf, some(crossEnded, ended, root, oldRoot, next), []moment{{0, "next", "", ""}}},
		"another signature is valid":   {leaf, some(next, crossEnded, crossed), []moment{{0, "next crossed", "", ""}}},
		"other root has ended":         {leaf, some(next, crossed, oldRoot), []moment{{0, "next crossed", "", `root "CN=Old Root" in the bundle ended`}}},
		"directly below a root":        {direct, some(root), []moment{{0, "", "", ""}}},
		"… that another one signed":    {direct, some(crossEnded, root), []moment{{0, "", "", ""}}},
		"… while it is valid":          {direct, some(crossed, root), []moment{{0, "crossed", "", ""}, {31, "", "", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				slices.Reverse(test.authorities)
				bundle := certstest.Join(test.leaf.Key, test.leaf.Leaf)
				for _, a := range test.authorities {
					bundle = certstest.Join(bundle, a.PEM())
				}
				parsed, _, err := certs.ParsePEM(bundle)
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range test.want {
					at := onDay(want.day)
					c := parsed.At(at)
					got := moment{want.day, p.sent(c.Chain), c.Refused(at), want.remark}
					if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					if !strings.Contains(c.Remark, want.remark) || (want.remark == "") != (c.Remark == "") {
						t.Errorf("on day %d the remark is %q, want one with %q", want.day, c.Remark, want.remark)
					}
					if valid := parsed.ValidAt(at) == certs.Valid; valid != (want.refused == "") || valid != (c.ValidAt(at) == certs.Valid) {
						t.Errorf("on day %d it is valid: %v", want.day, valid)
					}
					wantAccepted(t, c.Chain, at, []*x509.Certificate{root.Certificate()}, want.refused == "")
				}
			}
		})
	}
}

func some(all ...*certstest.Authority) []*certstest.Authority { return all }

// A certificate whose issuer has ended loses to one that works, though its own dates are
// later; and one that clients may refuse for what is above its issuer loses to one that
// all accept. It changes when the issuer ends.
func TestSelectCountsTheChain(t *testing.T) {
	t.Parallel()
	root := certstest.TestRoot(t, "Root", onDay(-900), onDay(900))
	oldRoot := certstest.TestRoot(t, "Old Root", onDay(-900), onDay(900))
	ends, good := root.Sub(t, "Ends", onDay(-400), onDay(5)), root.Sub(t, "Good", onDay(-400), onDay(900))
	crossEnded := oldRoot.Sign(t, root, onDay(-900), onDay(-5))
	parsed := func(name string, a *certstest.Authority, days int, more ...*certstest.Authority) *certs.Certificate {
		issued := a.TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: onDay(-10), NotAfter: onDay(days)})
		bundle := issued.Bundle()
		for _, m := range more {
			bundle = certstest.Join(bundle, m.PEM())
		}
		c, _, err := certs.ParsePEM(bundle)
		if err != nil {
			t.Fatal(err)
		}
		c.Source, c.Name = "dir", name
		return c
	}
	all := []*certs.Certificate{parsed("issuer ends", ends, 80), parsed("good", good, 60), parsed("misses", good, 70, crossEnded)}
	var got []string
	for now := noon; !now.IsZero(); {
		var current []*certs.Certificate
		for _, c := range all {
			current = append(current, c.At(now))
		}
		s := certs.Select(current, now)
		got = append(got, now.Truncate(time.Hour).Format(time.DateOnly)+" "+s.Winners["a.test"].Name)
		now = s.Next
	}
	want := []string{"2026-03-01 good", "2026-03-06 good", "2026-04-30 misses", "2026-05-10 good"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	alone := certs.Select(all[:1], onDay(6))
	if said := problems(alone); len(said) != 1 || !strings.Contains(said[0].Reason, `expired on 2026-03-06 with its issuer "CN=Ends" and is served all the same`) {
		t.Errorf("problems %v", said)
	}
	if days, _ := all[0].Reminder(noon); days != 7 {
		t.Errorf("the reminder of %d days is due, want that of 7: its issuer ends in 5", days)
	}
}

// Authorities that all sign one another cost no more than others.
func TestChainOfAuthoritiesThatSignOneAnother(t *testing.T) {
	t.Parallel()
	var all []*certstest.Authority
	for i := range 8 {
		all = append(all, certstest.TestRoot(t, fmt.Sprint("Root ", i), onDay(-900), onDay(900)))
	}
	leaf := all[0].TestIssue(t, []string{"a.test"}, certstest.Options{NotBefore: onDay(-50), NotAfter: onDay(300)})
	bundle := certstest.Join(leaf.Key, leaf.Leaf)
	for n := range 98 { // as many as a bundle may have, with dates that all differ
		a, b := all[n%56/7], all[(n%56/7+n%7+1)%8]
		bundle = certstest.Join(bundle, a.Sign(t, b, onDay(n-49), onDay(n+100)).PEM())
	}
	const limit = 300 * time.Millisecond * cputest.Slow
	took := cputest.Thread(func() {
		if _, _, err := certs.ParsePEM(bundle); err != nil {
			t.Error(err)
		}
	})
	if took > limit {
		t.Errorf("it takes %s", took)
	}
}

// Nor do issuers whose keys are so long that no client verifies their signatures.
func TestChainOfHugeKeys(t *testing.T) {
	t.Parallel()
	const bits, limit = 32768, 300 * time.Millisecond * cputest.Slow
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := certstest.EncodeKey(key, certstest.PKCS8)
	if err != nil {
		t.Fatal(err)
	}
	bundle := certstest.Join(keyPEM, seemsSigned(t, key, "a.test", &key.PublicKey, 1, bits))
	for i := range int64(30) {
		modulus := new(big.Int).Lsh(big.NewInt(1), bits)
		modulus.Sub(modulus, big.NewInt(2*i+1))
		bundle = certstest.Join(bundle, seemsSigned(t, key, "Huge", &rsa.PublicKey{N: modulus, E: 1<<31 - 1}, i+2, bits))
	}
	took := cputest.Thread(func() {
		if _, _, err := certs.ParsePEM(bundle); err != nil {
			t.Error(err)
		}
	})
	if took > limit {
		t.Errorf("it takes %s", took)
	}
}

// seemsSigned is a certificate with a signature that seems to be by an issuer called Huge.
func seemsSigned(t *testing.T, signer *rsa.PrivateKey, name string, public *rsa.PublicKey, serial int64, bits int) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"a.test"}, NotBefore: onDay(-10), NotAfter: onDay(int(serial))}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: "Huge"}}, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	var parts struct {
		Content   asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		t.Fatal(err)
	}
	parts.Signature = asn1.BitString{Bytes: make([]byte, bits/8), BitLength: bits}
	if der, err = asn1.Marshal(parts); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
