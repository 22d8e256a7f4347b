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
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// maxName and maxLabel are the limits of DNS (RFC 1035, section 2.3.4).
	maxName, maxLabel = 253, 63
	// maxInput bounds what is looked at: no name of 253 bytes is longer in letters
	// of up to four bytes.
	maxInput = 4 * maxName
)

// Both profiles let through what DNS allows and names of hosts should not have
// (RFC 1123, section 2.1): underscores, and hyphens at any place. checkLabel decides
// about all other characters, with a message that names them.
var (
	domainProfile     = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))
	serverNameProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))
)

// Domain returns the form in which a domain is routed. Space around it is taken
// off. "*.example.com" is accepted for every name under example.com, and an IPv4
// address for itself: see IsAddress. Anything else that cannot be the host of a
// request is an error that says why: a scheme, a port, a path, an IPv6 address, an
// empty label, a "*" elsewhere, a bare "*", more than 253 bytes.
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
	if address, err := netip.ParseAddr(strings.Trim(d, "[]")); err == nil && !address.Is4() {
		return "", fmt.Errorf("%.80q is an IPv6 address: Envoy finds the domain by the host up to its first colon", s)
	}
	if i := strings.IndexAny(d, ":/?#@"); i >= 0 {
		return "", fmt.Errorf("%.80q has a %q: write the domain alone, without port or path", s, d[i])
	}
	if strings.ContainsFunc(d, isWrapping) {
		return "", fmt.Errorf("%.80q has a quote, a bracket or a dash that is no hyphen", s)
	}
	name, wildcard := CutWildcard(d)
	if d == "*" {
		return "", errors.New(`"*" is no domain, as no app may have all: name the domains, or write "*.example.com" for all names below one`)
	}
	if strings.Contains(name, "*") {
		return "", fmt.Errorf("%.80q has a %q that does not stand for the whole first label", s, "*")
	}
	ascii, err := toASCII(domainProfile, name)
	if err != nil {
		return "", fmt.Errorf("%.80q is not a valid domain: %w", s, err)
	}
	if strings.ContainsAny(ascii, ";|") {
		return "", fmt.Errorf("%.80q has a %q: in a label, commas or spaces stand between domains", s, ascii[strings.IndexAny(ascii, ";|")])
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if err := checkLabel(label); err != nil {
			return "", fmt.Errorf("%.80q: %w", s, err)
		}
	}
	if wildcard {
		if IsAddress(ascii) {
			return "", fmt.Errorf("%.80q stands for nothing: there are no names below an IP address", s)
		}
		ascii = Wildcard(ascii)
	}
	if len(ascii) > maxName {
		return "", fmt.Errorf("%.20q… has more than %d bytes", s, maxName)
	}
	return ascii, nil
}

// ServerName returns a name in the form that a client's SNI has after Envoy
// lowered its case. Only the whole first label may be a "*" (RFC 6125, section
// 6.4.3). Unlike a domain it is never an address.
func ServerName(s string) (string, error) {
	name, wildcard := CutWildcard(strings.TrimSuffix(s, "."))
	if strings.Contains(name, "*") {
		return "", errors.New(`a "*" must be the whole first label`)
	}
	ascii, err := toASCII(serverNameProfile, name)
	if err != nil {
		return "", errInvalid
	}
	if IsAddress(name) || IsAddress(ascii) {
		return "", errors.New("clients send no SNI for an IP address")
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if checkLabel(label) != nil {
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

// isWrapping tells of what word processors and chats put around and between words. Punycode
// could have it.
func isWrapping(c rune) bool {
	return c >= utf8.RuneSelf && unicode.In(c, unicode.Pi, unicode.Pf, unicode.Pd, unicode.Ps, unicode.Pe)
}

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

// IsAddress reports whether a host is an IP address. Clients send no server name for one
// (RFC 6066, section 3), so no certificate can be chosen by it.
func IsAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// NoCertificate says why no authority gives a certificate for a domain by ACME; "" if one
// may. They sign what names of hosts should be, and domains may be more than that: see
// section 7.1.4.2 of the Baseline Requirements,
// https://cabforum.org/working-groups/server/baseline-requirements/documents/.
func NoCertificate(domain string) string {
	if IsAddress(domain) {
		return "it is an IP address, for which clients ask for no certificate"
	}
	name, _ := CutWildcard(domain)
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case strings.Contains(label, "_"):
			return "it has an underscore"
		case strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-"):
			return "a hyphen is at the beginning or end of a label"
		case len(label) > 3 && label[2:4] == "--" && !strings.HasPrefix(label, "xn--"):
			return "only punycode has hyphens as third and fourth character of a label"
		}
	}
	return ""
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("has an empty label")
	case len(label) > maxLabel:
		return fmt.Errorf("label %.20q… has more than %d bytes", label, maxLabel)
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return fmt.Errorf("label %q has a %q: only letters, digits, hyphens and underscores are allowed", label, c)
		}
	}
	return nil
}
