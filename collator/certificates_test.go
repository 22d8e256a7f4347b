package collator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/internal/problem"
	"relay/xds"
)

func TestRenewalTouchesOnlyTheSecret(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
	syncCertificates := func(certificates ...*certs.Certificate) {
		c.SyncCertificates("vault", certificates, nil)
		c.round()
	}
	syncApps(c)
	if !r.Withheld[xds.Key{Type: xds.Listener, Name: "https"}] {
		t.Error("the https listener is not withheld before certificates are known")
	}
	r.Touched()
	syncCertificates(certificate("a.test", "1", "a.test"), certificate("b.test", "2", "b.test"))
	wantTouched(t, r, `set secrets "vault/a.test"`, `set secrets "vault/b.test"`, `set listeners "https"`)
	syncCertificates(certificate("a.test", "1", "a.test"), certificate("b.test", "3", "b.test"))
	wantTouched(t, r, `set secrets "vault/b.test"`)
	syncCertificates(certificate("a.test", "1", "a.test"))
	wantTouched(t, r, `set listeners "https"`, `remove secrets "vault/b.test"`)
	syncCertificates()
	wantTouched(t, r, `remove secrets "vault/a.test"`, `remove listeners "https"`)
	if c.problems.count(problem.HTTPS) != 1 {
		t.Errorf("problems without a certificate: %v", reasons(c.Problems()))
	}
}

func TestNoCertificateRemovesWhatWasWithheld(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault", "dir"}})
	syncApps(c)
	c.SyncCertificates("vault", nil, nil)
	c.round()
	https := xds.Key{Type: xds.Listener, Name: "https"}
	if !r.Withheld[https] || c.certificatesSynced.Load() {
		t.Error("one source of two is taken for all")
	}
	r.Touched()
	c.SyncCertificates("dir", nil, nil)
	c.round()
	wantTouched(t, r, `remove listeners "https"`)
}

func TestCertificateIsReplacedWhenItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, r := newTest(t, Config{CertificateSources: []string{"dir", "vault"}})
		c.now = time.Now
		ends := certificate("a", "ends", "a.test")
		ends.NotBefore, ends.NotAfter = time.Now(), time.Now().Add(2*time.Hour)
		begins := certificate("b", "begins", "a.test")
		begins.NotBefore, begins.NotAfter = time.Now().Add(time.Hour), time.Now().Add(100*time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Serve(ctx) }()
		c.SyncApps(nil)
		c.SyncCertificates("vault", []*certs.Certificate{ends, begins}, nil)
		c.SyncCertificates("dir", nil, nil)
		synctest.Wait()
		if diff := cmp.Diff([]string{"vault/a"}, r.Names(xds.Secret)); diff != "" {
			t.Errorf("secrets at first (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"vault/b"}, r.Names(xds.Secret)); diff != "" {
			t.Errorf("secrets after an hour (-want +got):\n%s", diff)
		}
		cancel()
		<-done
	})
}
