package e2e

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"testing"
)

const (
	ticketSecret = "one secret of exactly 32 bytes.\x00"
	otherSecret  = "another one of just 32 bytes...\x00"
)

// A session outlives the Envoy that it began at.
func TestSessionAtAnotherEnvoy(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.certs.issue("a.test")
	file := filepath.Join(t.TempDir(), "tickets")
	replace(t, file, []byte(ticketSecret))
	w.relay.config.SessionTicketKeyFile = file
	w.start()
	w.clients.expect("https://a.test/", 200, "/a")
	caches := map[uint16]tls.ClientSessionCache{
		tls.VersionTLS12: tls.NewLRUClientSessionCache(1), tls.VersionTLS13: tls.NewLRUClientSessionCache(1),
	}
	for version, cache := range caches {
		if _, err := w.tls.resumes(version, cache); err != nil {
			t.Fatal(err)
		}
	}
	// Another Envoy and another Relay, with nothing of those before.
	w.envoy.Kill()
	w.relay.stop()
	w.start()
	w.clients.expect("https://a.test/", 200, "/a")
	for version, cache := range caches {
		if resumed, err := w.tls.resumes(version, cache); err != nil || !resumed {
			t.Errorf("%s: resumed %t, %v", tls.VersionName(version), resumed, err)
		}
	}
	// Another secret ends the tickets.
	replace(t, file, []byte(otherSecret))
	for version, cache := range caches {
		before, _ := cache.Get("a.test")
		w.eventually("a session ends", func() error {
			cache.Put("a.test", before)
			if resumed, err := w.tls.resumes(version, cache); err != nil || resumed {
				return fmt.Errorf("%s: resumed %t, %v", tls.VersionName(version), resumed, err)
			}
			return nil
		})
	}
}
