package xds

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"

	"relay/certs/certstest"
	"relay/xds/xdstest"
)

// A client gives its slot back as soon as the server waits for it.
func TestHandshakeSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := make(handshakeSlots, 1)
		conn, client := net.Pipe()
		slow := &slotConn{Conn: conn, done: all.take()}
		go func() { _, _ = slow.Read(make([]byte, 1)) }()
		synctest.Wait()
		if len(all) != 0 {
			t.Error("a client that says nothing has a slot")
		}
		all.take()
		_, _ = client.Write([]byte{0})
		_ = client.Close()
		_, _ = slow.Read(make([]byte, 1))
		if len(all) != 1 {
			t.Error("a client gave back a slot that it does not have")
		}
	})
}

// A connection that was closed while it waited costs no handshake.
func TestHandshakeSlotOfClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := make(handshakeSlots, 1)
		done := all.take()
		conn, client := net.Pipe()
		failed := make(chan error, 1)
		go func() {
			_, _, err := handshaker{slots: all, limit: time.Second}.handshake(conn)
			failed <- err
		}()
		_, _ = client.Write([]byte{recordHandshake, 3, 1, 0, 1, 0})
		synctest.Wait()
		_ = conn.Close()
		done()
		if err := <-failed; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%v, want %v", err, io.ErrClosedPipe)
		}
		if len(all) != 0 {
			t.Error("its slot is not given back")
		}
	})
}

// A handshake waits for a slot, beside any number of clients that say nothing.
func TestHandshakesWaitForSlots(t *testing.T) {
	t.Parallel()
	s := secure(t, func(l *Limits) { l.Handshake = silence })
	config := s.client(t, s.ca, certstest.Options{}, "good.test")
	for range cap(s.server.handshakeSlots) {
		s.server.handshakeSlots <- struct{}{}
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
		t.Fatalf("a handshake was made without a slot: %v", err)
	default:
	}
	for range cap(s.server.handshakeSlots) {
		<-s.server.handshakeSlots
	}
	if err := <-shaken; err != nil {
		t.Error(err)
	}
	c := xdstest.ConnectBy(t, credentials.NewTLS(config), s.address, "edge", "next")
	c.Subscribe(listeners)
	c.Ack(c.Expect(listeners, nil))
}
