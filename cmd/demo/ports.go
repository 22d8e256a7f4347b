package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// local is the address of a port of this machine.
func local(port uint16) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) }

// checkPorts says which ports cannot be used, before anything is started.
func (o *options) checkPorts() error {
	var lines, flags []string
	by := make(map[uint16]string)
	for _, p := range []struct {
		flag, what string
		port       uint16
	}{
		{"http", "Envoy, HTTP", o.HTTP},
		{"https", "Envoy, HTTPS", o.HTTPS},
		{"marathon", "the simulated Marathon", o.Marathon},
		{"renew", "renewal of certificates", o.Renew},
		{"admin", "Relay's status page", o.Admin},
		{"xds", "Relay's xDS", o.XDS},
		{"envoy-admin", "Envoy's admin endpoint", o.EnvoyAdmin},
	} {
		reason := usable(p.port)
		if other, twice := by[p.port]; twice {
			reason = "is that of --" + other + " too"
		}
		by[p.port] = p.flag
		if reason != "" {
			lines = append(lines, fmt.Sprintf("  %5d %s: %s", p.port, reason, p.what))
			flags = append(flags, "--"+p.flag+" PORT")
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("these ports of 127.0.0.1 cannot be used (does another demo run?)\n%s\nChoose others: make demo ARGS=%q",
		strings.Join(lines, "\n"), strings.Join(flags, " "))
}

// usable says why a port is not; "" when it is.
func usable(port uint16) string {
	if port == 0 {
		return "is no port of its own"
	}
	l, err := net.Listen("tcp", local(port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "is taken"
	case err != nil:
		return err.Error()
	}
	_ = l.Close()
	return ""
}
