package envoytest

import (
	"fmt"
	"net"
	"testing"
)

// A port is nobody else's until its test ends, whoever listens there.
func TestFreePortIsReserved(t *testing.T) {
	t.Parallel()
	var address string
	reserved := func() bool {
		l, err := net.ListenPacket("udp", address)
		if err == nil {
			_ = l.Close()
		}
		return err != nil
	}
	t.Run("test", func(t *testing.T) {
		address = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if !reserved() {
			t.Error("it is not reserved during the test")
		}
	})
	if reserved() {
		t.Error("it is reserved after the test")
	}
}
