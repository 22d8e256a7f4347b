package sources

import "fmt"

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
