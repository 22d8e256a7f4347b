package certs_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
)

func testRoot(t testing.TB, name string) *certstest.Authority {
	t.Helper()
	return certstest.TestRoot(t, name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(5, 0, 0))
}

func der(t testing.TB, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func withExtension(critical bool, value []byte, id ...int) certstest.ListOptions {
	return certstest.ListOptions{Change: func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}}
}

func withPoint(value ...byte) certstest.ListOptions {
	return withExtension(true, append([]byte{0x30, byte(len(value))}, value...), 2, 5, 29, 28)
}

func TestParseRevocationsAccepts(t *testing.T) {
	t.Parallel()
	root := testRoot(t, "devices")
	one, two := root.TestRevoke(t, certstest.ListOptions{}, 1, 2), root.TestRevoke(t, certstest.ListOptions{Number: 2}, 3)
	url := withPoint(append([]byte{0xa0, 12, 0xa0, 10, 0x86, 8}, "http://x"...)...)
	for name, test := range map[string]struct {
		text   []byte
		counts []int
		remark string
	}{
		"PEM":                   {one, []int{2}, ""},
		"several":               {certstest.Join([]byte("list\n"), one, []byte("\n# next\n"), two), []int{2, 1}, ""},
		"DER":                   {der(t, one), []int{2}, ""},
		"DER and a line break":  {append(der(t, one), '\n'), []int{2}, ""},
		"several in DER":        {certstest.Join(der(t, one), der(t, two)), []int{2, 1}, ""},
		"byte order mark":       {certstest.Join([]byte("\xef\xbb\xbf"), one), []int{2}, ""},
		"certificate beside":    {certstest.Join(root.PEM(), one), []int{2}, ""},
		"empty list":            {root.TestRevoke(t, certstest.ListOptions{}), []int{0}, ""},
		"for users only":        {root.TestRevoke(t, withPoint(0x81, 1, 0xff)), []int{0}, ""},
		"of distribution point": {root.TestRevoke(t, url), []int{0}, "distribution point"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lists, err := certs.ParseRevocations(test.text)
			if err != nil || len(lists) != len(test.counts) {
				t.Fatalf("%d lists, %v", len(lists), err)
			}
			for i, l := range lists {
				if l.Count != test.counts[i] || !l.SignedBy(root.Certificate()) || !strings.Contains(l.Remark, test.remark) || (l.Remark == "") != (test.remark == "") {
					t.Errorf("list %d: %+v", i, l)
				}
				if l.SignedBy(testRoot(t, "devices").Certificate()) {
					t.Error("it counts as signed by another authority of the same name")
				}
			}
		})
	}
}

func TestParseRevocationsRejects(t *testing.T) {
	t.Parallel()
	root := testRoot(t, "devices")
	good := root.TestRevoke(t, certstest.ListOptions{}, 1)
	many := bytes.Repeat(good, 101)
	entry := certstest.ListOptions{Change: func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), RevocationTime: time.Now(), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}}}
	}}
	first, err := os.ReadFile("testdata/version1.crl.pem")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"empty":              {nil, "no revocation list"},
		"garbage":            {[]byte("none"), "no revocation list"},
		"a certificate":      {root.PEM(), "no revocation list"},
		"cut short":          {good[:len(good)-30], "broken"},
		"second cut short":   {certstest.Join(good, good[:100]), "broken"},
		"DER cut short":      {der(t, good)[:90], "cut short"},
		"DER and more":       {append(der(t, good), "more"...), "cut short"},
		"too many":           {many, "more than 100"},
		"too large":          {make([]byte, certs.MaxRevocationText+1), "at most"},
		"version 1":          {first, "version 1"},
		"delta":              {root.TestRevoke(t, withExtension(true, []byte{2, 1, 1}, 2, 5, 29, 27)), "delta"},
		"critical":           {root.TestRevoke(t, withExtension(true, []byte{5, 0}, 1, 2, 3)), "critical extension 1.2.3"},
		"critical in entry":  {root.TestRevoke(t, entry), "critical extension 1.2.3"},
		"for authorities":    {root.TestRevoke(t, withPoint(0x82, 1, 0xff)), "not for certificates of clients"},
		"for attributes":     {root.TestRevoke(t, withPoint(0x85, 1, 0xff)), "not for certificates of clients"},
		"for some reasons":   {root.TestRevoke(t, withPoint(0x83, 2, 0, 0x40)), "some reasons"},
		"indirect":           {root.TestRevoke(t, withPoint(0x84, 1, 0xff)), "indirect"},
		"point relative":     {root.TestRevoke(t, withPoint(0xa0, 2, 0xa1, 0)), "relative"},
		"point is malformed": {root.TestRevoke(t, withPoint(0x81, 1, 0)), "distribution point"},
		"twice": {root.TestRevoke(t, certstest.ListOptions{Change: func(l *x509.RevocationList) {
			for range 2 {
				l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}})
			}
		}}), "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if lists, err := certs.ParseRevocations(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d lists, %v; want %q", len(lists), err, test.want)
			}
		})
	}
}

// What an authority has to say as time goes on.
func TestDueAuthority(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	root := certstest.TestRoot(t, "devices", now.AddDate(-1, 0, 0), now.AddDate(0, 0, 100))
	lists, err := certs.ParseRevocations(root.TestRevoke(t, certstest.ListOptions{ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 10)}))
	if err != nil {
		t.Fatal(err)
	}
	a := certs.NewAuthority("dir", "devices", []*x509.Certificate{root.Certificate()}, lists)
	day := 24 * time.Hour
	for _, test := range []struct {
		at    time.Duration
		want  string // of all reasons
		ended bool
		next  time.Duration
	}{
		{-time.Second, "a revocation list of it is not valid before", true, 0},
		{0, "", false, 9 * day},
		{9 * day, "is out of date from 2026-03-11T12:00:00Z on", false, 10 * day},
		{10 * day, "is out of date since 2026-03-11T12:00:00Z", true, 70 * day},
		{70 * day, "expires on 2026-06-09", true, 100 * day},
		{100 * day, "has expired on 2026-06-09", true, 0},
	} {
		due := a.Due(now.Add(test.at))
		if text := strings.Join(due.Reasons, "; "); !strings.Contains(text, test.want) || (text == "") != (test.want == "") || due.Ended != test.ended {
			t.Errorf("after %s: %q, ended %v; want %q, %v", test.at, text, due.Ended, test.want, test.ended)
		}
		if next := now.Add(test.next); test.at >= 0 && (due.Next.IsZero() != (test.next == 0) || test.next != 0 && !due.Next.Equal(next)) {
			t.Errorf("after %s: next %s, want %s", test.at, due.Next, next)
		}
	}
}

func FuzzParseRevocations(f *testing.F) {
	root := testRoot(f, "devices")
	list := root.TestRevoke(f, certstest.ListOptions{}, 1, 2)
	f.Add(list)
	f.Add(der(f, list))
	f.Add(root.TestRevoke(f, withPoint(0x81, 1, 0xff)))
	f.Fuzz(func(t *testing.T, text []byte) {
		lists, err := certs.ParseRevocations(text)
		if (err == nil) != (len(lists) > 0) {
			t.Fatalf("%d lists, %v", len(lists), err)
		}
		if err != nil {
			return
		}
		a := certs.NewAuthority("dir", "a", []*x509.Certificate{root.Certificate()}, lists)
		again, err := certs.ParseRevocations(a.Revoked)
		if err != nil || len(again) != len(lists) {
			t.Errorf("what was read cannot be read again: %v", err)
		}
		a.Due(time.Now())
	})
}
