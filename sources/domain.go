package sources

import "fmt"

// DomainCount counts the domains that were read of an app: those that it serves, or
// those that it has for ACME. The zero value has read none.
type DomainCount struct{ read int }

// Add counts a list of n domains. It returns how many of them are to be read, from the
// first on, and what the problem is if that is not all of them.
func (c *DomainCount) Add(n int) (read int, problem string) {
	left := MaxAppDomains - c.read
	read = min(n, MaxDomains, left)
	c.read += read
	switch {
	case read == n:
	case left < MaxDomains:
		problem = fmt.Sprintf("has %d entries, and the app has more than %d in all such lists: only the first %d of this list are routed. Split the app", n, MaxAppDomains, read)
	default:
		problem = fmt.Sprintf("has %d entries, and at most %d are allowed: those after the first %d are not routed. Split the app", n, MaxDomains, read)
	}
	return read, problem
}
