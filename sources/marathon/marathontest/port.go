package marathontest

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// hold takes a port of an address for as long as the Server lives: the system may give one that
// nobody listens at to somebody else, also to a client, and Up would fail. Who connects is refused. The
// caller holds s.mu.
func (s *Server) hold(addr string) (string, error) {
	parsed, err := netip.ParseAddrPort(addr)
	if err != nil || !parsed.Addr().Is4() || parsed.Port() != 0 {
		return addr, nil // who has chosen the port sees to it
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", fmt.Errorf("marathontest: %w", err)
	}
	addr, err = bind(fd, parsed.Addr())
	if err != nil {
		_ = unix.Close(fd)
		return "", fmt.Errorf("marathontest: %w", err)
	}
	if s.held == nil {
		s.held = map[string]int{}
	}
	s.held[addr] = fd
	return addr, nil
}

// bind binds a socket to a port of the system's choice, which one more socket of this user may be bound to.
func bind(fd int, ip netip.Addr) (addr string, err error) {
	if err := sharePort(uintptr(fd)); err != nil {
		return "", err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: ip.As4()}); err != nil {
		return "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	return netip.AddrPortFrom(ip, uint16(name.(*unix.SockaddrInet4).Port)).String(), nil
}

func sharePort(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

// listenAt listens at an address, which may be one that is held. The caller holds s.mu.
func (s *Server) listenAt(addr string) (net.Listener, error) {
	var config net.ListenConfig
	if _, held := s.held[addr]; held {
		config.Control = func(_, _ string, conn syscall.RawConn) (err error) {
			if failed := conn.Control(func(fd uintptr) { err = sharePort(fd) }); failed != nil {
				return failed
			}
			return err
		}
	}
	return config.Listen(s.ctx, "tcp", addr)
}

// letGo gives back the ports.
func (s *Server) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fd := range s.held {
		_ = unix.Close(fd)
	}
	s.held = nil
}
