package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/collator"
	"relay/collator/routing"
	"relay/internal/logtest"
)

const (
	ticketSecret = "one secret of exactly 32 bytes.\x00"
	otherSecret  = "another one of just 32 bytes...\x00"
)

// ticketSink remembers the keys of each fleet.
type ticketSink struct {
	mu    sync.Mutex
	keys  map[string][]collator.TicketKey
	times int
}

func (s *ticketSink) SetClientCA(string, []byte) error { return nil }

func (s *ticketSink) SetTicketKeys(fleet string, keys []collator.TicketKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[fleet] = keys
	s.times++
}

// All Relays have the same keys at the same time, and new ones when the clock or
// the file says so; a file that cannot be used changes nothing.
func TestTicketKeysFollowTheClockAndTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tickets")
	replace(t, file, []byte(hex.EncodeToString([]byte(ticketSecret))+"\n"))
	synctest.Test(t, func(t *testing.T) {
		address := netip.MustParseAddrPort("127.0.0.1:1")
		config := &Config{SessionTicketKeyFile: file, Fleets: []FleetConfig{
			{Name: "a", HTTPS: address}, {Name: "b", HTTPS: address}, {Name: "plain"},
			{Name: "asks", HTTPS: address, EdgeTLSConfig: EdgeTLSConfig{ClientCertificates: "optional"}},
		}}
		sink := &ticketSink{keys: make(map[string][]collator.TicketKey)}
		log := &logtest.Buffer{}
		e, err := newEdgeFiles(config, sink, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Serve(ctx) }()

		holds := func(what, secret string, times int) {
			t.Helper()
			synctest.Wait()
			sink.mu.Lock()
			defer sink.mu.Unlock()
			if fleets := slices.Sorted(maps.Keys(sink.keys)); !slices.Equal(fleets, []string{"a", "b"}) {
				t.Fatalf("%s: fleets %q have keys", what, fleets)
			}
			for fleet, got := range sink.keys {
				want, err := collator.TicketKeys([]byte(secret), fleet, collator.TicketPeriod(time.Now()))
				if err != nil || !slices.EqualFunc(got, want, func(a, b collator.TicketKey) bool { return slices.Equal(a, b) }) {
					t.Errorf("%s: fleet %s has other keys, %v", what, fleet, err)
				}
			}
			if sink.times != times {
				t.Errorf("%s: keys were set %d times, want %d", what, sink.times, times)
			}
		}
		holds("at the start", ticketSecret, 2)
		time.Sleep(routing.TicketKeyPeriod - time.Minute)
		holds("shortly before the end of a period", ticketSecret, 2)
		time.Sleep(time.Minute + recheck)
		holds("in the next period", ticketSecret, 4)
		replace(t, file, []byte("short"))
		time.Sleep(recheck)
		holds("with a file that has no secret", ticketSecret, 4)
		if p := e.problems(); len(p) != 1 || !strings.Contains(p[0].Reason, "32 random bytes") || strings.Contains(p[0].Reason, "short") {
			t.Errorf("problems %+v", p)
		}
		time.Sleep(routing.TicketKeyPeriod)
		holds("in the period after", ticketSecret, 6)
		replace(t, file, []byte(otherSecret))
		time.Sleep(recheck)
		holds("with another secret", otherSecret, 8)
		if p := e.problems(); len(p) != 0 {
			t.Errorf("problems are left: %+v", p)
		}
		cancel()
		<-done
		if n := strings.Count(log.String(), "last good content stays"); n != 1 {
			t.Errorf("the log tells %d times of the bad file, want once:\n%s", n, log)
		}
	})
}

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
