package relay

import (
	"bytes"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What keeps Relay from listening is said with what to do.
func TestBindCure(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES: "CAP_NET_BIND_SERVICE", syscall.EADDRNOTAVAIL: "0.0.0.0 for all", syscall.EADDRINUSE: "another program listens there", syscall.EMFILE: "too many open files",
	} {
		err := bindCure(&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", errno)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", errno, err, want)
		}
	}
	if err := bindCure(nil); err != nil {
		t.Error(err)
	}
}

// A port that is taken is a note only: the Relay that is checked may run.
func TestCheckBind(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var out bytes.Buffer
	r := &checker{out: &out}
	r.checkBind(&Config{XDS: XDSPort{Address: taken.Addr().String()}, Admin: AdminPort{Address: "192.0.2.1:9090"}})
	if text := out.String(); r.wrong != 1 || !strings.Contains(text, "note   xds: "+taken.Addr().String()+" is taken") || !strings.Contains(text, "wrong  admin: ") {
		t.Errorf("%d wrong:\n%s", r.wrong, text)
	}
}
