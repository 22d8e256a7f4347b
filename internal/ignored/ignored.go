// Package ignored says which clients do not count as use of an app: probes, uptime checkers,
// crawlers. They keep no app awake, and wake none.
package ignored

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	// maxClients is how many of either kind there are at most: Envoy looks at all of them with
	// each request to an app that may sleep, and keeps them for each.
	maxClients = 30
	// maxUserAgent is the length of a text in bytes.
	maxUserAgent = 100
)

// Clients are clients that do not count. The zero value is nobody. It is never modified.
type Clients struct {
	// UserAgents are texts in lower case, of printable ASCII. A client whose header User-Agent has
	// one of them anywhere, in upper or lower case, does not count.
	UserAgents []string
	// Networks are those of clients that do not count, without bits beyond the prefix.
	Networks []netip.Prefix
}

// Parse reads a list, each entry of which is a network (10.0.0.0/8), an address, or else a text
// that is in the User-Agent. The error says which entry is none of them.
func Parse(list []string) (Clients, error) {
	var c Clients
	for _, entry := range list {
		if network, ok := parseNetwork(entry); ok {
			c.Networks = append(c.Networks, network)
			continue
		}
		agent, err := parseUserAgent(entry)
		if err != nil {
			return Clients{}, err
		}
		c.UserAgents = append(c.UserAgents, agent)
	}
	if most := max(len(c.UserAgents), len(c.Networks)); most > maxClients {
		return Clients{}, fmt.Errorf("there are %d: at most %d networks and %[2]d user agents are ignored", most, maxClients)
	}
	return c, nil
}

func parseNetwork(entry string) (netip.Prefix, bool) {
	if address, err := netip.ParseAddr(entry); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	network, err := netip.ParsePrefix(entry)
	if err != nil || network.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return network.Masked(), true
}

func parseUserAgent(entry string) (string, error) {
	switch {
	case strings.TrimSpace(entry) != entry || entry == "":
		return "", fmt.Errorf("%q begins or ends with a space, or is empty", entry)
	case len(entry) > maxUserAgent:
		return "", fmt.Errorf("%.20q… is longer than %d bytes", entry, maxUserAgent)
	case strings.ContainsFunc(entry, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", fmt.Errorf("%q has more than printable ASCII", entry)
	case looksLikeNetwork(entry):
		return "", fmt.Errorf("%q is no network: write it as 10.0.0.0/8 or 2001:db8::/32", entry)
	}
	return strings.ToLower(entry), nil
}

// looksLikeNetwork reports whether a text that is no network was meant to be one.
func looksLikeNetwork(entry string) bool {
	before, _, found := strings.Cut(entry, "/")
	_, err := netip.ParseAddr(before)
	return found && err == nil
}

// With returns the clients, and those with a text in their User-Agent, which is in printable ASCII.
func (c Clients) With(userAgent string) Clients {
	c.UserAgents = append(slices.Clip(c.UserAgents), strings.ToLower(userAgent))
	return c
}

// None reports whether every client counts.
func (c Clients) None() bool { return len(c.UserAgents)+len(c.Networks) == 0 }

// Ignored reports whether a client does not count, by its header User-Agent and its address, which
// is the zero value if it is not known.
func (c Clients) Ignored(userAgent string, client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for _, network := range c.Networks {
		if network.Contains(client) {
			return true
		}
	}
	if len(c.UserAgents) == 0 || userAgent == "" {
		return false
	}
	userAgent = lower(userAgent)
	for _, text := range c.UserAgents {
		if strings.Contains(userAgent, text) {
			return true
		}
	}
	return false
}

// lower folds ASCII alone, as Envoy does.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Check returns what Envoy would not take.
func (c Clients) Check() error {
	for _, agent := range c.UserAgents {
		if parsed, err := parseUserAgent(agent); err != nil || parsed != agent {
			return errors.Join(fmt.Errorf("the user agent %.50q is not in lower case, or no text", agent), err)
		}
	}
	for _, network := range c.Networks {
		if !network.IsValid() || network != network.Masked() {
			return fmt.Errorf("%s is no network", network)
		}
	}
	return nil
}
