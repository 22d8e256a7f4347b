package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// One filter chain per certificate: a certificate that comes closes no
// connection, one that goes closes its own after Envoy's drain time, which is
// two seconds here, and a renewal closes none.
func TestFilterChainPerCertificate(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/all", "a.test,b.test,c.test,d.test", 1))
	w.certs.issue("a.test")
	w.certs.issue("b.test")
	w.certs.issue("c.test")
	w.start()
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		w.clients.expect("https://"+name+"/", http.StatusOK, "/all")
	}
	own := w.conns.openAll("b.test")
	others := append(w.conns.openAll("a.test"), w.conns.openAll("c.test")...)
	w.admin.settled()

	serial := w.clients.expect("https://a.test/", http.StatusOK, "/all").serial
	w.certs.issue("a.test")
	w.clients.renewed("https://a.test/", serial)
	w.certs.issue("d.test")
	w.clients.expect("https://d.test/", http.StatusOK, "/all")
	w.admin.settled()
	if n := w.envoy.draining(); n != 0 {
		t.Errorf("%d filter chains drain after a renewal and a new certificate, want none", n)
	}
	w.conns.open(own...)
	w.conns.open(others...)

	if err := os.Remove(filepath.Join(w.certs.dir, "b.test.pem")); err != nil {
		t.Fatal(err)
	}
	w.eventually("b.test's filter chain drains", func() error {
		if n := w.envoy.draining(); n != 1 {
			return fmt.Errorf("%d drain", n)
		}
		return nil
	})
	// All but the keep-alive connection, which may be asked to close at once.
	for _, c := range own[:len(own)-1] {
		if err := c.use(); err != nil && w.envoy.draining() == 1 {
			t.Errorf("%s, before the drain time is over: %v", c.what, err)
		}
	}
	for _, c := range own {
		w.eventually(c.what+" is closed", func() error {
			w.conns.open(others...)
			if c.use() == nil {
				return errors.New("it is open")
			}
			return nil
		})
	}
	// Whatever began to drain before b.test's filter chain is closed by now.
	w.conns.open(others...)
	w.conns.open(w.conns.openAll("d.test")...)
	if conn, err := w.tls.dialTLS("b.test", 0); err == nil {
		_ = conn.Close()
		t.Error("b.test is served without a certificate")
	}
	w.envoy.nothingRejected()
}
