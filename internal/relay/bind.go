package relay

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// bindCure adds to the error of a port that cannot be opened what to do.
func bindCure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: ports below 1024 need a right: choose another port, or give the program CAP_NET_BIND_SERVICE (in systemd: AmbientCapabilities)", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: this machine does not have the address: write one that it has, or 0.0.0.0 for all", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens there, maybe another Relay: choose another port, or stop it", err)
	}
	return err
}

// checkBind opens the ports for a moment. That one is taken is a note: by a Relay that runs,
// for one.
func (r *checker) checkBind(c *Config) {
	for _, port := range []struct{ setting, address string }{{"xds", c.XDS.Address}, {"admin", c.Admin.Address}, {"status-page", c.StatusPage.Address}} {
		if port.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", port.address)
		switch {
		case err == nil:
			_ = listener.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			fmt.Fprintf(r.out, "note   %s: %s is taken: that is right if this Relay runs already\n", port.setting, port.address)
		default:
			r.say(port.setting, bindCure(err))
		}
	}
}
