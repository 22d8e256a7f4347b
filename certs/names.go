package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// nameProfile maps IDN to punycode and lower case; underscores stay allowed,
// certificates do carry them.
var nameProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// maxNameNotes bounds what is said of the names of one certificate.
const maxNameNotes = 10

// serverNames returns the names that a leaf is served for: its DNS names, or
// its common name when it has no subject alternative name at all. isDefault is
// true for the bare "*" of a certificate made to answer unknown names.
func serverNames(leaf *x509.Certificate) (names []string, isDefault bool, notes []string) {
	raw := leaf.DNSNames
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) == 0 && leaf.Subject.CommonName != "" {
		raw = []string{leaf.Subject.CommonName}
	}
	ignored := 0
	for _, name := range raw {
		if name == "*" {
			isDefault = true
			continue
		}
		normalized, err := normalizeServerName(name)
		if err != nil {
			if ignored++; ignored <= maxNameNotes {
				notes = append(notes, fmt.Sprintf("name %.80q ignored: %v", name, err))
			}
			continue
		}
		names = append(names, normalized)
	}
	if ignored > maxNameNotes {
		notes = append(notes, fmt.Sprintf("%d more names ignored", ignored-maxNameNotes))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 && !isDefault {
		notes = append(notes, "no server name: it can only be served as the default certificate")
	}
	return names, isDefault, notes
}

// normalizeServerName returns a name in the form that a client's SNI has after
// Envoy lowered its case: punycode, no trailing dot. Only the whole first label
// may be a "*" (RFC 6125, section 6.4.3).
func normalizeServerName(name string) (string, error) {
	base := strings.TrimSuffix(name, ".")
	base, wildcard := strings.CutPrefix(base, "*.")
	if strings.Contains(base, "*") {
		return "", errors.New(`a "*" must be the whole first label`)
	}
	ascii, err := nameProfile.ToASCII(base)
	if err != nil || !utf8.ValidString(name) {
		return "", errors.New("not a valid domain name")
	}
	for _, text := range []string{base, ascii} { // digits of other scripts become ASCII ones
		if _, err := netip.ParseAddr(text); err == nil {
			return "", errors.New("clients send no SNI for an IP address")
		}
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInServerName) {
			return "", errors.New("not a valid domain name")
		}
	}
	if wildcard {
		ascii = "*." + ascii
	}
	if len(ascii) > 253 {
		return "", errors.New("longer than 253 bytes")
	}
	return ascii, nil
}

func notInServerName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
