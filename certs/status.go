package certs

import "time"

// Status is what the admin page shows of a certificate store.
type Status struct {
	// Source is "vault" or "dir".
	Source string
	// LastGoodRead is when the store was last read completely; zero when it
	// never was.
	LastGoodRead time.Time
	// LastError is why the latest read failed, free of secrets; empty when it
	// did not fail.
	LastError string
	// Certificates and Problems count what the last good read gave.
	Certificates, Problems int
}
