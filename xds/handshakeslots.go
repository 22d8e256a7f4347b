package xds

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"
)

// handshakeSlots let few clients at a time make the TLS handshake. When all Envoys of a fleet
// come at once, the work for connected Envoys waits behind a few handshakes, and not behind
// thousands.
type handshakeSlots chan struct{}

func newHandshakeSlots() handshakeSlots { return make(handshakeSlots, runtime.GOMAXPROCS(0)) }

// take waits for a slot, which is taken until done is called.
func (s handshakeSlots) take() (done func()) {
	s <- struct{}{}
	return sync.OnceFunc(func() { <-s })
}

// slotConn is a connection that gives its slot back when the server has answered the client and
// waits for it. So a slow client takes a slot no longer than a fast one.
type slotConn struct {
	net.Conn
	done func()
}

// Read gives the slot back.
func (c *slotConn) Read(p []byte) (int, error) {
	c.done()
	return c.Conn.Read(p)
}

// See RFC 8446, 5.1; sizes are in bytes.
const (
	recordHeader    = 5
	recordHandshake = 22
	maxRecord       = 16 << 10
)

// readHello reads the first record of a TLS client, as far as it comes. Only a client that sends
// a complete one needs a slot.
func readHello(conn net.Conn) (record []byte, complete bool) {
	record = make([]byte, recordHeader)
	n, err := io.ReadFull(conn, record)
	size := int(binary.BigEndian.Uint16(record[recordHeader-2:]))
	if err != nil || record[0] != recordHandshake || size > maxRecord {
		return record[:n], false
	}
	record = append(record, make([]byte, size)...)
	n, err = io.ReadFull(conn, record[recordHeader:])
	return record[:recordHeader+n], err == nil
}
