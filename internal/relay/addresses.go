package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ParseBindAddress reads where Envoys listen: IP:PORT. The error says what to write instead;
// port is the usual one, for a text without any.
func ParseBindAddress(text, port string) (netip.AddrPort, error) {
	if address, err := netip.ParseAddrPort(text); err == nil {
		return address, nil
	}
	host, given, err := splitAddress(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if given != "" {
		port = given
	}
	ip, bad := netip.ParseAddr(host)
	switch {
	case host == "" || host == "*":
		return netip.AddrPort{}, fmt.Errorf("%q has no IP address: write 0.0.0.0:%s for all interfaces, or the IP address of one, such as 10.0.0.1:%s", text, port, port)
	case host == "localhost":
		return netip.AddrPort{}, fmt.Errorf("%q has a name, not an IP address: write 127.0.0.1:%s", text, port)
	case bad != nil:
		return netip.AddrPort{}, fmt.Errorf("%q has no IP address before the port: write one of the machines that Envoys run on, or 0.0.0.0:%s for all interfaces", text, port)
	}
	return netip.AddrPort{}, wrongForm(text, ip.String(), given, port)
}

// checkAddress says what is wrong with HOST:PORT, where Relay itself listens, and what to
// write instead. The host may be a name or empty.
func checkAddress(text, port string) error {
	host, given, err := splitAddress(text)
	if err != nil {
		return err
	}
	if given != "" && !strings.Contains(text, "/") {
		if _, _, err := net.SplitHostPort(text); err == nil {
			return nil
		}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if given != "" {
		port = given
	}
	return wrongForm(text, host, given, port)
}

// wrongForm says what to write for an address of which the host and the port are known.
func wrongForm(text, host, given, port string) error {
	written := net.JoinHostPort(host, port)
	if given == "" {
		return fmt.Errorf("%q has no port: write %s", text, written)
	}
	return fmt.Errorf("%q is not HOST:PORT: write %s", text, written)
}

// splitAddress finds host and port in a text that may not have the right form; either may
// be missing. The error says that the port is none.
func splitAddress(text string) (host, port string, err error) {
	rest := strings.TrimSpace(text)
	if _, after, ok := strings.Cut(rest, "://"); ok {
		rest = after
	}
	rest, _, _ = strings.Cut(rest, "/")
	if bare, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		return bare.String(), "", nil
	}
	if _, err := strconv.Atoi(rest); err == nil {
		host, port = "", rest
	} else if host, port, err = net.SplitHostPort(rest); err != nil {
		// A name without a port, or something else.
		if strings.ContainsAny(rest, ":[] ") {
			return "", "", fmt.Errorf("%q is not one address: write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080", text)
		}
		return rest, "", nil
	}
	if _, err := strconv.ParseUint(port, 10, 16); port != "" && err != nil {
		return "", "", fmt.Errorf("%q has no port from 0 to 65535: %q is none", text, port)
	}
	return host, port, nil
}

// validateAddresses says what keeps Relay from listening.
func (c *Config) validateAddresses() error {
	var errs []error
	for _, p := range []struct{ flag, variable, address, port string }{
		{"--xds", "RELAY_XDS", c.XDS.Address, "18000"}, {"--admin", "RELAY_ADMIN", c.Admin.Address, "9090"},
	} {
		if err := checkAddress(p.address, p.port); err != nil {
			if p.variable == "RELAY_ADMIN" && strings.Contains(p.address, "://") {
				err = fmt.Errorf("%w; a URL in RELAY_ADMIN is for the commands that ask a running Relay: unset it for this one", err)
			}
			errs = append(errs, fmt.Errorf("%s (%s): %w", p.flag, p.variable, err))
		}
	}
	if len(errs) == 0 && samePort(c.XDS.Address, c.Admin.Address) {
		errs = append(errs, fmt.Errorf("--xds %s and --admin %s are the same port: give one of them another", c.XDS.Address, c.Admin.Address))
	}
	return errors.Join(errs...)
}

// samePort reports whether nobody can listen on both addresses.
func samePort(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	x, _ := strconv.Atoi(portA)
	y, _ := strconv.Atoi(portB)
	if x != y || x == 0 {
		return false
	}
	all := func(host string) bool {
		ip := net.ParseIP(host)
		return host == "" || ip != nil && ip.IsUnspecified()
	}
	local := func(host string) string {
		if host == "localhost" {
			return "127.0.0.1"
		}
		return host
	}
	return all(hostA) || all(hostB) || strings.EqualFold(local(hostA), local(hostB))
}
