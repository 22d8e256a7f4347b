package main

import (
	"fmt"

	"relay/internal/ignored"
)

// VisitorFlags say what visitors of a fleet see, and who of them counts: flags for the one fleet,
// and keys of each fleet in the configuration file.
type VisitorFlags struct {
	ErrorPages string   `group:"Fleet" placeholder:"DIR" yaml:"error-pages" help:"Folder with HTML that visitors see in place of the built-in error pages: CODE.html, such as busy.html, and default.html. Read at start."`
	IdleIgnore []string `group:"Scaling" placeholder:"CLIENT" yaml:"idle-ignore" help:"Clients that neither wake an app nor count as use of it, such as uptime checkers: a network (10.0.0.0/8), an address, or else a text that is in their User-Agent, in upper or lower case."`
}

// ignoredClients are those of --idle-ignore. The error is for the fleet's name.
func (f VisitorFlags) ignoredClients(fleet string) (ignored.Clients, error) {
	clients, err := ignored.Parse(f.IdleIgnore)
	if err != nil {
		return ignored.Clients{}, fmt.Errorf("fleet %q has idle-ignore that is no client: %w", fleet, err)
	}
	return clients, nil
}
