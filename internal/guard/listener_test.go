package guard

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// The oldest of those that never were in use makes place; of those that were,
// when they are more than half; one in use never does.
func TestSurplusIsClosed(t *testing.T) {
	t.Parallel()
	for _, limits := range []Limits{{PerAddress: 4, InAll: 100}, {PerAddress: 100, InAll: 4}} {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := Listen(inner, limits, NewLog(slog.New(slog.DiscardHandler), nil))
		var clients []net.Conn
		connect := func() (remote string) {
			client, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, client)
			served, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return served.RemoteAddr().String()
		}
		closed := func(i int) {
			t.Helper()
			_ = clients[i].SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := clients[i].Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("connection %d: %v, want it closed", i, err)
			}
		}
		busy := l.Use(connect()) // 0
		l.Use(connect())()       // 1 was in use
		connect()                // 2, 3 and 4 never were
		connect()
		connect()
		connect() // 5
		closed(2)
		l.Use(connect())() // 6
		closed(3)
		l.Use(connect())() // 7
		closed(4)
		connect() // 8
		closed(1)
		busy() // beside it 5, 6, 7 and 8 are left
		closed(6)
		if l.idle.len() != 4 || len(l.conns) != 4 || len(l.idleByNetwork) != 1 {
			t.Errorf("%d are not in use, %d are open", l.idle.len(), len(l.conns))
		}
		for remote := range l.conns {
			l.CloseConn(remote)
		}
		if l.idle.len()+len(l.conns)+len(l.idleByNetwork) > 0 {
			t.Errorf("closed connections are kept: %+v", l)
		}
		for _, c := range clients {
			_ = c.Close()
		}
		_ = inner.Close()
	}
}

func TestNetworkOf(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"10.0.0.1:1": "10.0.0.1/32", "[::ffff:10.0.0.1]:1": "10.0.0.1/32", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		addr, err := net.ResolveTCPAddr("tcp", remote)
		if err != nil {
			t.Fatal(err)
		}
		if got := networkOf(addr).String(); got != want {
			t.Errorf("%s is of %s, want %s", remote, got, want)
		}
	}
}
