package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

const (
	ticketSecret = "one secret of exactly 32 bytes.\x00"
	otherSecret  = "another one of just 32 bytes...\x00"
)

// A session outlives the Envoy that it began at.
func TestSessionAtAnotherEnvoy(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	w.issue("a.test")
	file := filepath.Join(t.TempDir(), "tickets")
	replace(t, file, []byte(ticketSecret))
	w.config.SessionTicketKeyFile = file
	w.start()
	w.expect("https://a.test/", 200, "/a")
	caches := map[uint16]tls.ClientSessionCache{
		tls.VersionTLS12: tls.NewLRUClientSessionCache(1), tls.VersionTLS13: tls.NewLRUClientSessionCache(1),
	}
	for version, cache := range caches {
		if _, err := w.resumes(version, cache); err != nil {
			t.Fatal(err)
		}
	}
	// Another Envoy and another Relay, with nothing of those before.
	w.envoy.Kill()
	w.stop()
	w.start()
	w.expect("https://a.test/", 200, "/a")
	for version, cache := range caches {
		if resumed, err := w.resumes(version, cache); err != nil || !resumed {
			t.Errorf("%s: resumed %t, %v", tls.VersionName(version), resumed, err)
		}
	}
	// Another secret ends the tickets.
	replace(t, file, []byte(otherSecret))
	for version, cache := range caches {
		before, _ := cache.Get("a.test")
		w.eventually("a session ends", func() error {
			cache.Put("a.test", before)
			if resumed, err := w.resumes(version, cache); err != nil || resumed {
				return fmt.Errorf("%s: resumed %t, %v", tls.VersionName(version), resumed, err)
			}
			return nil
		})
	}
}

// resumes asks for a page, and reports whether a session was resumed.
func (w *world) resumes(version uint16, cache tls.ClientSessionCache) (bool, error) {
	config := w.ca.ClientTLS()
	config.ServerName, config.ClientSessionCache, config.MinVersion, config.MaxVersion = "a.test", cache, version, version
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.https, config)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	// With TLS 1.3 the ticket comes before the answer.
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		return false, err
	}
	if _, err = io.ReadAll(conn); err != nil {
		return false, err
	}
	return conn.ConnectionState().DidResume, nil
}
