package device

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/probe"
)

// A certificate that the edge does not like fails the step "tls", whatever version of TLS: with 1.3 the client
// learns it later, by what is asked then, or never if it is to ask nothing.
func TestRefusedCertificates(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		broken func(*world)
		seen   string
	}{
		"expired": {func(w *world) {
			w.show(w.devices.TestIssue(w.t, []string{"device"}, certstest.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}))
		}, "(it expired 20"},
		"of another authority": {func(w *world) {
			w.show(certstest.TestCA(w.t).TestIssue(w.t, []string{"device"}, certstest.Options{}))
		}, "the edge refuses the device's certificate: "},
		"revoked": {func(w *world) { w.verify = func(*x509.Certificate) error { return errNotLiked } }, "the edge refuses the device's certificate: "},
		"none":    {func(w *world) { w.device.Certificate, w.device.Key = "", "" }, "(the device has no certificate)"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for what, asked := range map[string]func(*probe.DeviceSettings){
				"all": func(*probe.DeviceSettings) {},
				"only what it sends": func(d *probe.DeviceSettings) {
					d.Hello.Expect, d.MessageToAgent, d.MessageFromAgent = "", nil, nil
				},
				"only HTTP": func(d *probe.DeviceSettings) {
					d.Hello, d.MessageToAgent, d.MessageFromAgent = nil, nil, nil
				},
			} {
				t.Run(name+", "+tls.VersionName(version)+", "+what, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					w.serverTLS.MaxVersion = version
					asked(&w.device)
					tt.broken(w)
					w.start()
					r := w.probe()
					fails(t, r, TLS, tt.seen)
					if !r.Answered {
						t.Error("the edge is taken to be down, but it has refused")
					}
				})
			}
		}
	}
}

// What the edge shows is verified, and what was wrong with it is said.
func TestCertificatesOfTheEdge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		broken func(*world)
		seen   string
	}{
		"expired": {func(w *world) {
			w.change(w.ca.TestIssue(w.t, []string{"devices.test"}, certstest.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}))
		}, "certificate for devices.test, expires 20"},
		"of nobody": {func(w *world) {
			w.change(certstest.TestCA(w.t).TestIssue(w.t, []string{"devices.test"}, certstest.Options{}))
		}, "certificate for devices.test, expires"},
		"of another name":  {func(w *world) { w.change(w.ca.TestIssue(w.t, []string{"b.test"}, certstest.Options{})) }, "valid for b.test, not devices.test"},
		"no authorities":   {func(w *world) { w.write("ca.pem", nil) }, "the file of authorities cannot be used"},
		"no key":           {func(w *world) { _ = os.Remove(w.path("device.key")) }, "the device's certificate cannot be used"},
		"a file by the id": {func(w *world) { w.device.Key = w.path(deviceID + ".key") }, "/{id}.key: no such file"},
		"the key of another": {func(w *world) {
			w.write("device.key", w.devices.TestIssue(w.t, []string{"b"}, certstest.Options{}).Key)
		}, "give the key that belongs to the certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.broken(w)
			w.start()
			fails(t, w.probe(), TLS, tt.seen)
		})
	}
}

// change has the connection server show another certificate.
func (w *world) change(issued *certstest.Issued) {
	config, err := issued.ServerTLS()
	if err != nil {
		w.t.Fatal(err)
	}
	w.serverTLS.Certificates = config.Certificates
}

// A renewed certificate, another secret and other authorities are used from the next probe on.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.devices.TestIssue(t, []string{"device"}, certstest.Options{Serial: 71})
	w.show(first)
	w.start()
	well := func() {
		t.Helper()
		if r := w.probe(); !r.OK {
			t.Fatal(r.Reason)
		}
	}
	well()
	w.show(w.devices.TestIssue(t, []string{"device"}, certstest.Options{Serial: 72}))
	well()
	w.mu.Lock()
	shown := slices.Clone(w.shown)
	w.mu.Unlock()
	if !slices.Equal(shown, []string{"71", "72"}) {
		t.Errorf("shown: %v", shown)
	}
	w.write("secret", []byte("old"))
	if r := w.probe(); r.OK || !strings.HasPrefix(r.Reason, Hello) {
		t.Errorf("with a wrong secret: %+v", r)
	}
	w.write("secret", []byte(password))
	w.write("ca.pem", w.devices.PEM())
	fails(t, w.probe(), TLS, "unknown authority")
}

// A renewal writes two files: a probe between them waits for the second one.
func TestRenewalInBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	renewed := w.devices.TestIssue(t, []string{"device"}, certstest.Options{Serial: 72})
	w.write("device.pem", certstest.Join(renewed.Leaf, renewed.Chain))
	reads := 0
	pair, err := readPairBy(t.Context(), w.path("device.pem"), w.path("device.key"), func(certificate, key string) (tls.Certificate, error) {
		reads++
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if reads == 1 {
			w.write("device.key", renewed.Key)
		}
		return pair, err
	})
	if err != nil || reads != 2 || pair.Leaf.SerialNumber.Int64() != 72 {
		t.Errorf("%d reads: %v", reads, err)
	}
	if _, err := readPair(t.Context(), w.path("none"), w.path("none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
