package collator

import (
	"errors"
	"fmt"

	"relay/collator/history"
	"relay/collator/routing"
	"relay/sources"
)

// Config says which fleets there are and what they listen on.
type Config struct {
	Fleets []routing.Fleet
	// ACMEApp is the id of the app whose port 0 answers ACME challenges;
	// "/marathon-acme" when empty.
	ACMEApp string
	// CertificateSources names the sources that call SyncCertificates. Until each of
	// them has done so, the https listener is withheld.
	CertificateSources []string
	// CredentialSources names the stores that call SyncCredentials. Until each of them has done so, what needs
	// a credential is withheld.
	CredentialSources []string
	// Queues, if set, is told of each app with a queue as it is routed from now on, by its routed
	// name; with nil of one that is not any more. It is called by the loop, and must return at once.
	Queues func(name string, app *sources.App)
	// History, if set, is told what is published, and why.
	History *history.History
}

// check returns what makes the configuration unusable.
func (c Config) check(publishers map[string]Publisher) error {
	if len(c.Fleets) == 0 {
		return errors.New("no fleet is configured: name at least one group")
	}
	seen := make(map[string]bool)
	for i := range c.Fleets {
		f := &c.Fleets[i]
		if err := f.Check(); err != nil {
			return fmt.Errorf("fleet %q: %w", f.Name, err)
		}
		if seen[f.Name] {
			return fmt.Errorf("fleet %q is configured twice: give each a name of its own", f.Name)
		}
		if publishers[f.Name] == nil {
			return fmt.Errorf("fleet %q has no publisher", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}
