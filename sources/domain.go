package sources

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// domainProfile maps IDN to punycode and lower case. Underscores are refused
// afterwards, by our own check, so that the message can name them.
var domainProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// longestDomain bounds what is looked at: no domain of 253 bytes is longer in
// letters of up to four bytes.
const longestDomain = 4 * 253

// NormalizeDomain returns the form in which a domain is routed: lower case,
// punycode, without surrounding space or trailing dot. "*.example.com" is
// accepted for every name under example.com. Anything else that cannot be the
// host of a request is an error that says why: a scheme, a port, a path, an IP
// address, an empty label, an underscore, a "*" elsewhere, a bare "*", more than 253 bytes.
func NormalizeDomain(s string) (string, error) {
	d := strings.TrimSuffix(strings.TrimSpace(s), ".")
	if d == "" {
		return "", errors.New("is empty")
	}
	if len(d) > longestDomain {
		return "", fmt.Errorf("%.20q… has more than 253 bytes", d)
	}
	if strings.Contains(d, "://") {
		return "", fmt.Errorf("%.80q has a scheme: write the domain alone", s)
	}
	if _, err := netip.ParseAddr(strings.Trim(d, "[]")); err == nil {
		return "", fmt.Errorf("%.80q is an IP address, not a domain", s)
	}
	if i := strings.IndexAny(d, ":/?#@"); i >= 0 {
		return "", fmt.Errorf("%.80q has a %q: write the domain alone, without port or path", s, d[i])
	}
	wildcard := strings.HasPrefix(d, "*.")
	name := strings.TrimPrefix(d, "*.")
	if strings.Contains(name, "*") {
		return "", fmt.Errorf("%.80q has a %q that does not stand for the whole first label", s, "*")
	}
	ascii, err := domainProfile.ToASCII(name)
	if err == nil {
		// The first pass maps what is no character at all to a valid-looking
		// "xn--" label; only the second one looks into it.
		_, err = domainProfile.ToASCII(ascii)
	}
	if err != nil {
		return "", fmt.Errorf("%.80q is not a valid domain: %w", s, err)
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if err := checkLabel(label); err != nil {
			return "", fmt.Errorf("%.80q: %w", s, err)
		}
	}
	if wildcard {
		ascii = "*." + ascii
	}
	if len(ascii) > 253 {
		return "", fmt.Errorf("%.20q… has more than 253 bytes", s)
	}
	return ascii, nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return errors.New("has an empty label")
	case len(label) > 63:
		return fmt.Errorf("label %.20q… has more than 63 bytes", label)
	}
	for _, c := range label {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("label %q has a %q: only letters, digits and hyphens are allowed", label, c)
		}
	}
	return nil
}

// DomainRoom is how many domains of an app have been read, of one kind: those
// that it serves, or those that it has for ACME.
type DomainRoom struct{ read int }

// Take returns how many entries of a list of n domains are read, the first ones,
// and what the problem is if that is not all of them.
func (r *DomainRoom) Take(n int) (read int, problem string) {
	left := MaxAppDomains - r.read
	read = min(n, MaxDomains, left)
	r.read += read
	switch {
	case read == n:
	case left < MaxDomains:
		problem = fmt.Sprintf("has %d entries, and the app has more than %d in all such lists: only the first %d of this list are routed. Split the app", n, MaxAppDomains, read)
	default:
		problem = fmt.Sprintf("has %d entries, and at most %d are allowed: those after the first %d are not routed. Split the app", n, MaxDomains, read)
	}
	return read, problem
}
