package savedstate

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/certs"
	"relay/certs/certstest"
	"relay/internal/problem"
	"relay/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func certificate(t *testing.T, ca *certstest.CA, name string) *certs.Certificate {
	t.Helper()
	c, _, err := certs.ParsePEM(ca.TestIssue(t, []string{name}, certstest.Options{}).Bundle())
	if err != nil {
		t.Fatal(err)
	}
	c.Source, c.Name = "vault", name
	return c
}

func testKey(t *testing.T) *state.Key {
	t.Helper()
	key, err := state.ParseKey(bytes.Repeat([]byte{200}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSink(t *testing.T, path string) (*Sink, *certstest.Sink) {
	t.Helper()
	next := certstest.NewSink()
	s, err := New(state.Config{
		What: "certificates", Source: "vault", Grace: 10 * time.Second, Interval: 5 * time.Second,
		File: state.File{Path: path, Content: "certificates", Key: testKey(t)},
	}, next, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s, next
}

// twoChains is a certificate whose issuer is followed by another one.
func twoChains(t *testing.T) *certs.Certificate {
	t.Helper()
	now := time.Now()
	root := certstest.TestRoot(t, "Root", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))
	issuer := root.Sub(t, "Sub", now.AddDate(-1, 0, 0), now.AddDate(0, 0, 20))
	next := root.Sign(t, issuer, now.AddDate(0, 0, 10), now.AddDate(1, 0, 0))
	c, _, err := certs.ParsePEM(certstest.Join(issuer.TestIssue(t, []string{"chains.test"}, certstest.Options{}).Bundle(), next.PEM()))
	if err != nil || len(c.Chains) != 2 {
		t.Fatalf("%d chains, %v", len(c.Chains), err)
	}
	c.Source, c.Name = "vault", "chains.test"
	return c
}

// A second life stands in with exactly what the first was given; the file
// tells nobody anything.
func TestTwoLives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	ca := certstest.TestCA(t)
	all := []*certs.Certificate{certificate(t, ca, "a.test"), certificate(t, ca, "*.b.test"), twoChains(t)}
	problems := []problem.Problem{{Subject: "c.test", Reason: "no key"}}
	synctest.Test(t, func(t *testing.T) {
		first, _ := newSink(t, path)
		go func() { _ = first.Serve(t.Context()) }()
		first.SyncCertificates("vault", all, problems)
		synctest.Wait()
		second, next := newSink(t, path)
		go func() { _ = second.Serve(t.Context()) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := next.Last(); got.Count != 1 || got.Source != "vault" || !reflect.DeepEqual(got.Certificates, all) || !reflect.DeepEqual(got.Problems, problems) {
			t.Errorf("stood in with %+v", got)
		}
		second.SyncCertificates("vault", all[:1], nil)
		if got := next.Last(); got.Count != 2 || len(got.Certificates) != 1 {
			t.Errorf("after the sync: %+v", got)
		}
	})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, told := range []string{"PRIVATE KEY", "CERTIFICATE", "a.test", "REDACTED"} {
		if bytes.Contains(data, []byte(told)) {
			t.Errorf("the file has %q", told)
		}
	}
}

func TestNeverInPlainText(t *testing.T) {
	t.Parallel()
	_, err := New(state.Config{What: "certificates", Source: "vault"}, certstest.NewSink(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "--state-key-file") {
		t.Errorf("without a key: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s, _ := newSink(t, "")
	ca := certstest.TestCA(t)
	a, b := certificate(t, ca, "a.test"), certificate(t, ca, "b.test")
	other := *a
	other.Source = "dir"
	mixed := *a
	mixed.Fingerprint = b.Fingerprint
	for want, c := range map[string]*certs.Certificate{"not of vault": &other, "do not belong together": &mixed} {
		body, err := encode(read{certificates: []*certs.Certificate{c}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.decode(body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
	}
	for _, body := range []string{"", "[]", `{"Certificates":[{}]}`, `{"Certificates":[null]}`} {
		if _, err := s.decode([]byte(body)); err == nil {
			t.Errorf("%q was taken", body)
		}
	}
}

// What Relay would not take from the store any more, as a newer one that checks more, costs
// only itself.
func TestRefusedCertificate(t *testing.T) {
	t.Parallel()
	s, _ := newSink(t, "")
	ca := certstest.TestCA(t)
	good, bad := certificate(t, ca, "a.test"), *certificate(t, ca, "b.test")
	stapled := ca.TestNamedOdd(t, "must-staple")
	bad.Chain, bad.Key = stapled.Leaf, stapled.Key
	body, err := encode(read{certificates: []*certs.Certificate{&bad, good}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.decode(body)
	if err != nil || len(r.certificates) != 1 || !reflect.DeepEqual(r.certificates[0], good) {
		t.Errorf("taken are %+v, %v", r.certificates, err)
	}
	if len(r.problems) != 1 || r.problems[0].Subject != bad.Name || !strings.Contains(r.problems[0].Reason, "must-staple") {
		t.Errorf("the problems are %+v", r.problems)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Certificates":[{"Source":"vault","Name":"a","Key":"eA=="}],"Problems":[{"Name":"b"}]}`))
	s := &Sink{source: "vault"}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := s.decode(body)
		if err != nil {
			return
		}
		for _, c := range r.certificates {
			if len(c.Key) == 0 || len(c.Chain) == 0 {
				t.Errorf("half a certificate: %q", body)
			}
		}
	})
}
