package hostname

import (
	"iter"
	"strings"
)

const wildcardPrefix = "*."

// Wildcard returns the wildcard for the names below a parent.
func Wildcard(parent string) string { return wildcardPrefix + parent }

// CutWildcard returns the parent of a wildcard. A name that is none is returned as
// it is.
func CutWildcard(name string) (parent string, ok bool) {
	return strings.CutPrefix(name, wildcardPrefix)
}

// WildcardOver returns the one wildcard by which clients accept the certificate of
// a name, which is one level up (RFC 6125, section 6.4.3); "" for a wildcard and
// for a name of one label.
func WildcardOver(name string) string {
	label, parent, ok := strings.Cut(name, ".")
	if !ok || label == "*" {
		return ""
	}
	return Wildcard(parent)
}

// Parents gives each parent of a name, from the longest to the shortest.
func Parents(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			_, parent, ok := strings.Cut(name, ".")
			if !ok || !yield(parent) {
				return
			}
			name = parent
		}
	}
}

// Candidates returns the names under which a host may be found, be it routed or
// covered by a certificate: its own, then wildcards, the longest first.
func Candidates(host string) []string {
	names := []string{host}
	for parent := range Parents(host) {
		if name := Wildcard(parent); name != host {
			names = append(names, name)
		}
	}
	return names
}
