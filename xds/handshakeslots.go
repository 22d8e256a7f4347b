package xds

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"
)

// turns let few clients at a time make the handshake of TLS. When all Envoys of a
// fleet come at once, what is to be done for those that are connected waits behind
// a few handshakes, and not behind thousands.
type handshakeSlots chan struct{}

func newHandshakeSlots() handshakeSlots { return make(handshakeSlots, runtime.GOMAXPROCS(0)) }

// take waits for a turn, which lasts until done is called.
func (s handshakeSlots) take() (done func()) {
	s <- struct{}{}
	return sync.OnceFunc(func() { <-s })
}

// answered is a connection whose turn is over when the client was answered and the
// server waits for it: no client can take longer by taking its time.
type slotConn struct {
	net.Conn
	done func()
}

// Read ends the turn.
func (c *slotConn) Read(p []byte) (int, error) {
	c.done()
	return c.Conn.Read(p)
}

const (
	recordHeader    = 5
	recordHandshake = 22
	maxRecord       = 16 << 10
)

// readHello reads the first record of a TLS client, as far as it comes. Only who
// sends one needs a turn.
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
