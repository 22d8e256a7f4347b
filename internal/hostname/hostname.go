// Package hostname has the rules of names of hosts: of domains, by which requests
// are routed, and of server names, by which certificates are chosen. Both are in
// lower case, in punycode (RFC 3492), without a trailing dot, and may be a
// wildcard: "*." before a parent.
package hostname

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

const (
	// maxName and maxLabel are the limits of DNS (RFC 1035, section 2.3.4).
	maxName, maxLabel = 253, 63
	// maxInput bounds what is looked at: no name of 253 bytes is longer in letters
	// of up to four bytes.
	maxInput = 4 * maxName
)

// Underscores are let through by both profiles: checkLabel decides about them,
// with a message that names them.
var (
	domainProfile     = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))
	serverNameProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))
)

// Domain returns the form in which a domain is routed. Space around it is taken
// off. "*.example.com" is accepted for every name under example.com. Anything else
// that cannot be the host of a request is an error that says why: a scheme, a
// port, a path, an IP address, an empty label, an underscore, a "*" elsewhere, a
// bare "*", more than 253 bytes.
func Domain(s string) (string, error) {
	d := strings.TrimSuffix(strings.TrimSpace(s), ".")
	if d == "" {
		return "", errors.New("is empty")
	}
	if len(d) > maxInput {
		return "", fmt.Errorf("%.20q… has more than %d bytes", d, maxName)
	}
	if strings.Contains(d, "://") {
		return "", fmt.Errorf("%.80q has a scheme: write the domain alone", s)
	}
	if isAddress(strings.Trim(d, "[]")) {
		return "", fmt.Errorf("%.80q is an IP address, not a domain", s)
	}
	if i := strings.IndexAny(d, ":/?#@"); i >= 0 {
		return "", fmt.Errorf("%.80q has a %q: write the domain alone, without port or path", s, d[i])
	}
	name, wildcard := CutWildcard(d)
	if strings.Contains(name, "*") {
		return "", fmt.Errorf("%.80q has a %q that does not stand for the whole first label", s, "*")
	}
	ascii, err := toASCII(domainProfile, name)
	if err != nil {
		return "", fmt.Errorf("%.80q is not a valid domain: %w", s, err)
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if err := checkLabel(label, false); err != nil {
			return "", fmt.Errorf("%.80q: %w", s, err)
		}
	}
	if wildcard {
		ascii = Wildcard(ascii)
	}
	switch {
	case len(ascii) > maxName:
		return "", fmt.Errorf("%.20q… has more than %d bytes", s, maxName)
	case isAddress(ascii): // of digits of other scripts
		return "", fmt.Errorf("%.80q is an IP address, not a domain", s)
	}
	return ascii, nil
}

// ServerName returns a name in the form that a client's SNI has after Envoy
// lowered its case. Only the whole first label may be a "*" (RFC 6125, section
// 6.4.3). Unlike a domain it may have underscores, as certificates do.
func ServerName(s string) (string, error) {
	name, wildcard := CutWildcard(strings.TrimSuffix(s, "."))
	if strings.Contains(name, "*") {
		return "", errors.New(`a "*" must be the whole first label`)
	}
	ascii, err := toASCII(serverNameProfile, name)
	if err != nil {
		return "", errInvalid
	}
	if isAddress(name) || isAddress(ascii) {
		return "", errors.New("clients send no SNI for an IP address")
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if checkLabel(label, true) != nil {
			return "", errInvalid
		}
	}
	if wildcard {
		ascii = Wildcard(ascii)
	}
	if len(ascii) > maxName {
		return "", fmt.Errorf("longer than %d bytes", maxName)
	}
	return ascii, nil
}

var errInvalid = errors.New("not a valid domain name")

// toASCII maps a name to lower case and punycode.
func toASCII(profile *idna.Profile, name string) (string, error) {
	ascii, err := profile.ToASCII(name)
	if err != nil {
		return "", err
	}
	// The first pass maps what is no character at all to a valid-looking "xn--"
	// label; only the second one looks into it.
	_, err = profile.ToASCII(ascii)
	return ascii, err
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func checkLabel(label string, underscore bool) error {
	switch {
	case label == "":
		return errors.New("has an empty label")
	case len(label) > maxLabel:
		return fmt.Errorf("label %.20q… has more than %d bytes", label, maxLabel)
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && (c != '_' || !underscore) {
			return fmt.Errorf("label %q has a %q: only letters, digits and hyphens are allowed", label, c)
		}
	}
	return nil
}
