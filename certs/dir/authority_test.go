package dir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/internal/problem"
)

func testRoot(t testing.TB, name string) *certstest.Authority {
	t.Helper()
	return certstest.TestRoot(t, name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(5, 0, 0))
}

func (r result) authority(name string) *certs.Authority {
	return certstest.Sync{Authorities: r.authorities}.Authority(name)
}

func said(problems []problem.Problem) string {
	return certstest.Sync{Problems: problems}.Problem("")
}

// A certificate stays one, whatever the name of its file; an authority has no private key.
func TestAuthorityOrCertificate(t *testing.T) {
	t.Parallel()
	ca, root := certstest.TestCA(t), testRoot(t, "devices")
	list := root.TestRevoke(t, certstest.ListOptions{}, 1, 2)
	issued := ca.TestIssue(t, []string{"example.ca"}, certstest.Options{})
	for name, test := range map[string]struct {
		files        map[string][]byte
		authorities  []string
		certificates []string // server names
		said         string   // of certificates
		ofAuthority  string
	}{
		"an authority":                  {map[string][]byte{"devices.ca.pem": root.PEM()}, []string{"devices"}, nil, "", ""},
		"and its list":                  {map[string][]byte{"devices.ca.pem": root.PEM(), "devices.crl.pem": list}, []string{"devices"}, nil, "", ""},
		"and an empty list":             {map[string][]byte{"devices.ca.pem": root.PEM(), "devices.crl.pem": nil}, nil, nil, "", "no revocation list in it, in PEM or DER; nobody is let in by it"},
		"a domain of Canada":            {map[string][]byte{"example.ca.pem": issued.Bundle()}, nil, []string{"example.ca"}, "", ""},
		"with the key beside":           {map[string][]byte{"example.ca.pem": certstest.Join(issued.Leaf, issued.Chain), "example.ca.pem.key": issued.Key}, nil, []string{"example.ca"}, "", ""},
		"without its key":               {map[string][]byte{"example.ca.pem": issued.Leaf}, nil, nil, "", "of no authority; nobody is let in by it (a certificate to serve"},
		"in a file named like a list":   {map[string][]byte{"a.crl.pem": issued.Bundle()}, nil, []string{"example.ca"}, "", ""},
		"a list alone":                  {map[string][]byte{"devices.crl.pem": list}, nil, nil, `"devices.crl.pem" (its authority is not beside it: devices.ca.pem)`, ""},
		"a list of another name":        {map[string][]byte{"devices.ca.pem": root.PEM(), "devices.crl": list}, []string{"devices"}, nil, "revocation lists are read from devices.crl.pem", ""},
		"a list beside a certificate":   {map[string][]byte{"example.ca.pem": issued.Bundle(), "example.crl.pem": list}, nil, []string{"example.ca"}, "its authority is not beside it", ""},
		"hidden":                        {map[string][]byte{".ca.pem": root.PEM(), ".devices.ca.pem": root.PEM()}, nil, nil, "", ""},
		"no authority's name":           {map[string][]byte{"ca.pem": root.PEM()}, nil, nil, "no readable private key", ""},
		"marathon-acme's storage":       {map[string][]byte{"certs/example.ca.pem": issued.Bundle(), "unmanaged-certs/devices.ca.pem": root.PEM()}, []string{"devices"}, []string{"example.ca"}, "", ""},
		"beside marathon-acme's folder": {map[string][]byte{"certs/a.pem": issued.Bundle(), "devices.ca.pem": root.PEM(), "devices.crl.pem": list}, []string{"devices"}, []string{"example.ca"}, "", ""},
		"beside it, a certificate":      {map[string][]byte{"certs/a.pem": issued.Bundle(), "other.ca.pem": issued.Bundle()}, nil, []string{"example.ca"}, "only default.pem is read", ""},
		"beside certbot's folders":      {map[string][]byte{"site/fullchain.pem": certstest.Join(issued.Leaf, issued.Chain), "site/privkey.pem": issued.Key, "devices.ca.pem": root.PEM()}, []string{"devices"}, []string{"example.ca"}, "", ""},
		"twice":                         {map[string][]byte{"certs/devices.ca.pem": root.PEM(), "unmanaged-certs/devices.ca.pem": root.PEM()}, []string{"devices"}, nil, "", "another file has the name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.write("d/.keep", nil)
			for name, content := range test.files {
				f.write(filepath.Join("d", name), content)
			}
			got, err := f.scanner("d").scan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var authorities []string
			for _, a := range got.authorities {
				authorities = append(authorities, a.Name)
			}
			names := certstest.Sync{Certificates: got.certificates}.Names()
			if strings.Join(authorities, " ") != strings.Join(test.authorities, " ") || strings.Join(names, " ") != strings.Join(test.certificates, " ") {
				t.Errorf("authorities %q, certificates %q; want %q, %q", authorities, names, test.authorities, test.certificates)
			}
			if text := said(got.problems); !strings.Contains(text, test.said) || (text == "") != (test.said == "") {
				t.Errorf("of certificates is said %q, want %q", text, test.said)
			}
			if text := said(got.authorityProblems); !strings.Contains(text, test.ofAuthority) || (text == "") != (test.ofAuthority == "") {
				t.Errorf("of authorities is said %q, want %q", text, test.ofAuthority)
			}
		})
	}
}

// What a file was it stays, while it is written or broken.
func TestAuthorityStaysOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	root, issued := testRoot(t, "devices"), certstest.TestCA(t).TestIssue(t, []string{"example.ca"}, certstest.Options{})
	f.write("d/devices.ca.pem", root.PEM())
	f.write("d/devices.crl.pem", root.TestRevoke(t, certstest.ListOptions{}, 1))
	f.write("d/example.ca.pem", issued.Bundle())
	s := f.scanner("d")
	check := func(step, saidOfAuthority, saidOfCertificate string, revoked int) {
		t.Helper()
		got, err := s.scan(t.Context())
		if err != nil {
			t.Fatal(step, err)
		}
		if a := got.authority("devices"); a == nil || a.RevokedCount != revoked {
			t.Errorf("%s: the authority is %+v, want one with %d revoked", step, a, revoked)
		}
		if len(got.certificates) != 1 || len(got.authorities) != 1 {
			t.Errorf("%s: %d certificates, %d authorities", step, len(got.certificates), len(got.authorities))
		}
		for text, want := range map[string]string{said(got.authorityProblems): saidOfAuthority, said(got.problems): saidOfCertificate} {
			if !strings.Contains(text, want) || (text == "") != (want == "") {
				t.Errorf("%s: said is %q, want %q", step, text, want)
			}
		}
	}
	check("at first", "", "", 1)
	f.write("d/devices.ca.pem", issued.Bundle())
	check("a private key", "has a private key", "", 1)
	f.write("d/devices.ca.pem", root.PEM()[:100])
	check("half an authority", "stay in use", "", 1)
	f.write("d/devices.ca.pem", root.PEM())
	f.write("d/devices.crl.pem", root.TestRevoke(t, certstest.ListOptions{Number: 2}, 1, 2)[:100])
	check("half a list", "the last good revocation lists stay in use", "", 1)
	f.write("d/devices.crl.pem", nil)
	check("an empty list", "the last good revocation lists stay in use", "", 1)
	f.remove("d/devices.crl.pem")
	check("no list", "is gone", "", 1)
	f.write("d/example.ca.pem", issued.Leaf)
	check("a certificate without its key", "is gone", "stays in use", 1)
	f.write("d/example.ca.pem", issued.Bundle())
	f.write("d/devices.crl.pem", root.TestRevoke(t, certstest.ListOptions{Number: 2, ThisUpdate: time.Now()}, 1, 2))
	check("a newer list", "", "", 2)
}

// An authority whose file is removed goes after two scans, a certificate of the same name may come then.
func TestAuthorityIsRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("d/devices.ca.pem", testRoot(t, "devices").PEM())
	s := f.scanner("d")
	now := time.Now()
	if got, err := s.scan(t.Context()); err != nil || got.authority("devices") == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	f.remove("d/devices.ca.pem")
	for _, test := range []struct {
		after time.Duration
		there bool
	}{{0, true}, {removalDelay / 2, true}, {removalDelay + time.Second, false}} {
		_, authorities, err := s.list()
		if err != nil {
			t.Fatal(err)
		}
		again := s.dropGoneAuthorities(authorities, now.Add(test.after))
		if got := s.collect(now, again); (got.authority("devices") != nil) != test.there || got.again != test.there {
			t.Errorf("after %s: %+v", test.after, got)
		}
	}
}

// Serve tells of a new list as soon as it is there.
func TestServeNoticesLists(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	root := testRoot(t, "devices")
	f.write("d/devices.ca.pem", root.PEM())
	sink := certstest.NewSink()
	serve(t, Config{Paths: []string{f.path("d")}, PollInterval: never}, sink)
	revoked := func(n int) func(certstest.Sync) bool {
		return func(s certstest.Sync) bool { a := s.Authority("devices"); return a != nil && a.RevokedCount == n }
	}
	sink.WaitFor(t, "the authority", revoked(0))
	f.write("d/.new", root.TestRevoke(t, certstest.ListOptions{}, 1, 2, 3))
	if err := os.Rename(f.path("d/.new"), f.path("d/devices.crl.pem")); err != nil {
		t.Fatal(err)
	}
	sink.WaitFor(t, "its list", revoked(3))
	f.remove("d/devices.ca.pem")
	sink.WaitFor(t, "none", func(s certstest.Sync) bool { return s.Authority("devices") == nil })
}
