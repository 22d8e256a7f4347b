package certs_test

import (
	"bytes"
	"encoding/pem"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relay/certs"
	"relay/certs/certstest"
)

type (
	issued  = certstest.Issued
	options = certstest.Options
)

var join = certstest.Join

func TestParsePEMAccepts(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	stranger := certstest.TestCA(t).TestIssue(t, []string{"stranger.test"}, options{})
	plain := ca.TestIssue(t, []string{"a.test", "b.test"}, options{})
	rsa := ca.TestIssue(t, []string{"a.test"}, options{KeyType: certstest.RSA2048, KeyForm: certstest.PKCS1})
	sec1 := ca.TestIssue(t, []string{"a.test"}, options{KeyForm: certstest.SEC1})
	longer := ca.TestIssue(t, []string{"a.test"}, options{Key: plain.Signer, NotAfter: time.Now().AddDate(1, 0, 0)})
	sub, err := ca.Sub("Test Intermediate 2")
	if err != nil {
		t.Fatal(err)
	}
	deep := sub.TestIssue(t, []string{"a.test"}, options{})
	upper := plain.Chain
	lower := bytes.TrimSuffix(deep.Chain, upper)
	authority := ca.TestIssue(t, []string{"a.test"}, options{CA: true})
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no DER")})

	for name, test := range map[string]struct {
		bundle []byte
		leaf   *issued
		chain  [][]byte
		names  []string
		notes  []string // one word of each note, in order
	}{
		"key, leaf, chain":        {plain.Bundle(), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"any order":               {join(plain.Chain, plain.Leaf, plain.Key), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"text around":             {join([]byte("Bag Attributes\n"), plain.Leaf, []byte("subject=x\n"), plain.Chain, plain.Key, []byte("end")), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"Windows line ends":       {bytes.ReplaceAll(plain.Bundle(), []byte("\n"), []byte("\r\n")), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"PKCS#1":                  {rsa.Bundle(), rsa, [][]byte{rsa.Chain}, []string{"a.test"}, nil},
		"SEC 1 after parameters":  {join(params, sec1.Bundle()), sec1, [][]byte{sec1.Chain}, []string{"a.test"}, nil},
		"key of another first":    {join(stranger.Key, plain.Bundle()), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"root dropped":            {join(plain.Bundle(), plain.Root), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"duplicates dropped":      {join(plain.Bundle(), plain.Chain, plain.Leaf), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, nil},
		"stranger dropped":        {join(stranger.Leaf, plain.Bundle()), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, []string{"stranger.test"}},
		"two intermediates":       {join(deep.Root, upper, deep.Key, lower, deep.Leaf), deep, [][]byte{lower, upper}, []string{"a.test"}, nil},
		"leaf of an authority":    {join(authority.Chain, authority.Leaf, authority.Key), authority, [][]byte{plain.Chain}, []string{"a.test"}, nil},
		"intermediate missing":    {join(plain.Key, plain.Leaf), plain, nil, []string{"a.test", "b.test"}, []string{"missing"}},
		"broken block":            {join(broken, plain.Bundle()), plain, [][]byte{plain.Chain}, []string{"a.test", "b.test"}, []string{"block 1"}},
		"several leaves of a key": {join(plain.Bundle(), longer.Leaf), longer, [][]byte{plain.Chain}, []string{"a.test"}, []string{"several", "a.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, notes, err := certs.ParsePEM(test.bundle)
			if err != nil {
				t.Fatal(err)
			}
			if got.Fingerprint != test.leaf.Fingerprint {
				t.Error("another certificate was taken as the leaf")
			}
			if want := join(append([][]byte{test.leaf.Leaf}, test.chain...)...); !bytes.Equal(got.Chain, want) {
				t.Errorf("chain:\n%s\nwant:\n%s", got.Chain, want)
			}
			if diff := cmp.Diff(test.names, got.ServerNames); diff != "" {
				t.Error(diff)
			}
			wantKey, err := certstest.EncodeKey(test.leaf.Signer, certstest.PKCS8)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Key, wantKey) {
				t.Error("the key is not the leaf's in PKCS#8")
			}
			if len(notes) != len(test.notes) {
				t.Fatalf("notes %q, want %d", notes, len(test.notes))
			}
			for i, word := range test.notes {
				if !strings.Contains(notes[i], word) {
					t.Errorf("note %q does not speak of %q", notes[i], word)
				}
			}
		})
	}
}

func TestParsePEMRejects(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	good := ca.TestIssue(t, []string{"a.test"}, options{})
	other := ca.TestIssue(t, []string{"b.test"}, options{})
	short := ca.TestIssue(t, []string{"a.test"}, options{KeyType: certstest.RSA1024})
	curve := ca.TestIssue(t, []string{"a.test"}, options{KeyType: certstest.P224})
	edwards := ca.TestIssue(t, []string{"a.test"}, options{KeyType: certstest.Ed25519})
	encrypted8 := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	encrypted1 := pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
	})
	brokenKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("private-bytes")})

	for name, test := range map[string]struct {
		bundle []byte
		want   string
	}{
		"empty":            {nil, "no PEM block"},
		"garbage":          {[]byte("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n"), "no PEM block"},
		"no certificate":   {good.Key, "no readable certificate"},
		"no key":           {join(good.Leaf, good.Chain), "no readable private key"},
		"broken key":       {join(brokenKey, good.Leaf), "not a readable"},
		"key mismatch":     {join(other.Key, good.Leaf, good.Chain), "belongs to none"},
		"encrypted PKCS#8": {join(encrypted8, good.Leaf), "encrypted"},
		"encrypted PKCS#1": {join(encrypted1, good.Leaf), "encrypted"},
		"short RSA":        {short.Bundle(), "1024 bits"},
		"P-224":            {curve.Bundle(), "on curve P-224"},
		"Ed25519":          {edwards.Bundle(), "Ed25519"},
		"too many blocks":  {bytes.Repeat(good.Leaf, 101), "more than 100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := certs.ParsePEM(test.bundle)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "private-bytes") {
				t.Error("the error holds key material")
			}
		})
	}
}

func TestServerNames(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	for name, test := range map[string]struct {
		san       []string
		options   options
		want      []string
		isDefault bool
		notes     int
	}{
		"lower case, sorted, once":  {san: []string{"WWW.B.test", "a.test", "www.b.test"}, want: []string{"a.test", "www.b.test"}},
		"punycode stays":            {san: []string{"xn--bcher-kva.test"}, want: []string{"xn--bcher-kva.test"}},
		"underscore stays":          {san: []string{"_a.b.test"}, want: []string{"_a.b.test"}},
		"wildcard":                  {san: []string{"*.A.test"}, want: []string{"*.a.test"}},
		"partial wildcard ignored":  {san: []string{"w*.a.test", "a.*.test", "a.test"}, want: []string{"a.test"}, notes: 2},
		"IP addresses ignored":      {san: []string{"a.test"}, options: options{IPs: []net.IP{{127, 0, 0, 1}}}, want: []string{"a.test"}},
		"only IP addresses":         {options: options{IPs: []net.IP{{127, 0, 0, 1}}, CommonName: "a.test"}, notes: 1},
		"IP address as name":        {san: []string{"127.0.0.1", "a.test"}, want: []string{"a.test"}, notes: 1},
		"common name without SAN":   {options: options{NoSAN: true, CommonName: "CN.test."}, want: []string{"cn.test"}},
		"common name in Unicode":    {options: options{NoSAN: true, CommonName: "Bücher.test"}, want: []string{"xn--bcher-kva.test"}},
		"common name not with SAN":  {san: []string{"a.test"}, options: options{CommonName: "cn.test"}, want: []string{"a.test"}},
		"common name no domain":     {options: options{NoSAN: true, CommonName: "My Server"}, notes: 2},
		"bare star":                 {options: options{NoSAN: true, CommonName: "*", SelfSigned: true}, isDefault: true},
		"bare star and a real name": {san: []string{"*", "a.test"}, want: []string{"a.test"}, isDefault: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, notes, err := certs.ParsePEM(ca.TestIssue(t, test.san, test.options).Bundle())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.ServerNames); diff != "" {
				t.Error(diff)
			}
			if got.Default != test.isDefault {
				t.Errorf("default: %v, want %v", got.Default, test.isDefault)
			}
			if len(notes) != test.notes {
				t.Errorf("notes %q, want %d", notes, test.notes)
			}
		})
	}
}

func FuzzParsePEM(f *testing.F) {
	ca, err := certstest.NewCA()
	if err != nil {
		f.Fatal(err)
	}
	good, err := ca.Issue([]string{"a.test", "*.b.test"}, options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bundle())
	f.Add(join(good.Root, good.Chain, good.Leaf, good.Key))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Add(join(good.Key, good.Key, good.Leaf, bytes.Replace(good.Key, []byte("M"), []byte("N"), 1), good.Leaf))
	f.Add(bytes.ReplaceAll(bytes.ReplaceAll(good.Bundle(), []byte("PRIVATE KEY"), []byte("CERTIFICATE")), []byte("\n"), []byte("\r\n")))
	f.Add(bytes.Replace(good.Bundle(), []byte("BEGIN PRIVATE"), []byte("BEGIN EC PARAMETERS\xff PRIVATE"), 1))
	f.Fuzz(func(t *testing.T, bundle []byte) {
		got, notes, err := certs.ParsePEM(bundle)
		if (got == nil) == (err == nil) {
			t.Fatal("neither a certificate nor an error, or both")
		}
		told := strings.Join(notes, " ")
		if err != nil {
			told += err.Error()
		}
		if len(notes) > 500 || len(told) > 100_000 {
			t.Fatalf("%d notes of %d bytes", len(notes), len(told))
		}
		for line := range strings.Lines(string(bundle)) {
			if line = strings.TrimSpace(line); len(line) > 40 && !strings.Contains(line, "-----") && strings.Contains(told, line) {
				t.Fatalf("the bundle is repeated: %q", told)
			}
		}
		if err != nil {
			return
		}
		// What is handed out must be parsed to the same again.
		again, _, err := certs.ParsePEM(join(got.Key, got.Chain))
		if err != nil {
			t.Fatal(err)
		}
		// Of issuers that follow one another in time only the last one is left.
		if diff := cmp.Diff(got, again, cmpopts.IgnoreFields(certs.Certificate{}, "NotBefore", "NotAfter", "BeginsWith", "EndsWith", "Remark", "Chains")); diff != "" {
			t.Fatal(diff)
		}
	})
}
