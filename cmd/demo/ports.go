package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// local is the address of a port of this machine.
func local(port uint16) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) }

// checkPorts says which ports are taken, before anything is started.
func (o *options) checkPorts() error {
	var errs []error
	by := make(map[uint16]string)
	for _, p := range []struct {
		flag, what string
		port       uint16
	}{
		{"http", "Envoy's HTTP", o.HTTP},
		{"https", "Envoy's HTTPS", o.HTTPS},
		{"marathon", "the simulated Marathon", o.Marathon},
		{"renew", "certificate renewal", o.Renew},
		{"admin", "Relay's status page", o.Admin},
		{"xds", "Relay's xDS", o.XDS},
		{"envoy-admin", "Envoy's admin endpoint", o.EnvoyAdmin},
	} {
		if p.port == 0 {
			errs = append(errs, fmt.Errorf("--%s 0: give a port from 1 to 65535", p.flag))
			continue
		}
		if other, twice := by[p.port]; twice {
			errs = append(errs, fmt.Errorf("--%s and --%s are both %d", other, p.flag, p.port))
			continue
		}
		by[p.port] = p.flag
		l, err := net.Listen("tcp", local(p.port))
		if err != nil {
			errs = append(errs, fmt.Errorf("port %d for %s cannot be used: %w\n  choose another: bin/demo --%s PORT, or make demo ARGS=\"--%s PORT\"", p.port, p.what, err, p.flag, p.flag))
			continue
		}
		_ = l.Close()
	}
	return errors.Join(errs...)
}
