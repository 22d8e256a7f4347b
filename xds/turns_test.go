package xds

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"

	"relay/certs/certstest"
	"relay/xds/xdstest"
)

// Those that take their time cost the next no more than a long turn.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := make(turns, 2)
		slow := []func(){all.take(), all.take()}
		start := time.Now()
		done := all.take()
		if took := time.Since(start); took != longTurn {
			t.Errorf("a turn was free after %s, want %s", took, longTurn)
		}
		done()
		for _, done := range slow {
			done()
		}
		if len(all) != 0 {
			t.Errorf("%d turns are taken by nobody", len(all))
		}
	})
}

// A handshake waits for its turn, beside any number of clients that say nothing.
func TestHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	s := secure(t, func(l *Limits) { l.Handshake = time.Second })
	config := s.client(t, s.ca, certstest.Options{}, "good.test")
	for range cap(s.server.turns) {
		s.server.turns <- struct{}{}
	}
	shaken := make(chan error, 1)
	go func() {
		conn, err := tls.Dial("tcp", s.address, config)
		if err == nil {
			_ = conn.Close()
		}
		shaken <- err
	}()
	// One that says nothing is disconnected meanwhile: it has had its time.
	if err := s.writePlain(nil, 0); err != nil {
		t.Error(err)
	}
	select {
	case err := <-shaken:
		t.Fatalf("a handshake was made out of turn: %v", err)
	default:
	}
	for range cap(s.server.turns) {
		<-s.server.turns
	}
	if err := <-shaken; err != nil {
		t.Error(err)
	}
	c := xdstest.ConnectBy(t, credentials.NewTLS(config), s.address, "edge", "next")
	c.Subscribe(listeners)
	c.Ack(c.Expect(listeners, nil))
}
