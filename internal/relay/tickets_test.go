package relay

import (
	"context"
	"encoding/hex"
	"log/slog"
	"maps"
	"net/netip"
	"os"
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

// holds fails the test unless fleets a and b have the keys made of a secret, which
// were set so many times.
func (s *ticketSink) holds(t *testing.T, what, secret string, times int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if fleets := slices.Sorted(maps.Keys(s.keys)); !slices.Equal(fleets, []string{"a", "b"}) {
		t.Fatalf("%s: fleets %q have keys", what, fleets)
	}
	for fleet, got := range s.keys {
		want, err := collator.TicketKeys([]byte(secret), fleet, collator.TicketPeriod(time.Now()))
		if err != nil || !slices.EqualFunc(got, want, func(a, b collator.TicketKey) bool { return slices.Equal(a, b) }) {
			t.Errorf("%s: fleet %s has other keys, %v", what, fleet, err)
		}
	}
	if s.times != times {
		t.Errorf("%s: keys were set %d times, want %d", what, s.times, times)
	}
}

// replace puts a file in the place of another.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// All Relays have the same keys at the same time, and new ones when the clock or
// the file says so; a file that cannot be used changes nothing.
func TestTicketKeysFollowTheClockAndTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tickets")
	replace(t, file, []byte(hex.EncodeToString([]byte(ticketSecret))+"\n"))
	synctest.Test(t, func(t *testing.T) {
		address := netip.MustParseAddrPort("127.0.0.1:1")
		fleet := func(name string, https netip.AddrPort, clients routing.ClientCertificates) Fleet {
			return Fleet{Fleet: routing.Fleet{Name: name, HTTPS: https, TLS: routing.DownstreamTLS{ClientCertificates: clients}}}
		}
		config := &Config{SessionTicketKeyFile: file, Fleets: []Fleet{
			fleet("a", address, ""), fleet("b", address, ""), fleet("plain", netip.AddrPort{}, ""),
			fleet("asks", address, routing.ClientCertificatesOptional),
		}}
		sink := &ticketSink{keys: make(map[string][]collator.TicketKey)}
		log := &logtest.Buffer{}
		e, err := newDownstreamFiles(config, sink, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Serve(ctx) }()

		holds := func(what, secret string, times int) {
			t.Helper()
			synctest.Wait()
			sink.holds(t, what, secret, times)
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
