package sources

import "slices"

// Credentials returns the names of the credentials that the port's settings name, sorted, each once. A
// label has the name alone: see the package credentials.
func (p *Port) Credentials() []string {
	return sortedNames(p.HTTP.Credentials(), p.TCP.Credentials())
}

// Credentials returns those that the handling of requests needs.
func (h *HTTP) Credentials() []string {
	if h == nil {
		return nil
	}
	return sortedNames(h.SignOn.credentials())
}

// Credentials returns those that a TCP service needs.
func (t *TCP) Credentials() []string {
	if t == nil {
		return nil
	}
	return sortedNames(t.Redis.credentials())
}

// sortedNames leaves out what is empty: most ports name none.
func sortedNames(lists ...[]string) (names []string) {
	for _, list := range lists {
		for _, name := range list {
			if name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
