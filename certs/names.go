package certs

import (
	"crypto/x509"
	"fmt"
	"slices"

	"relay/internal/hostname"
)

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
		normalized, err := hostname.ServerName(name)
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
