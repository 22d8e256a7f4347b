// Package certs defines what a certificate store (Vault, a directory of PEM
// files) has to say, and parses and checks PEM bundles for all of them.
package certs

import (
	"time"

	"relay/internal/problem"
	"relay/internal/secret"
)

// Certificate is a usable certificate with its key, ready to be served. It is
// never modified once handed to a Sink.
type Certificate struct {
	// Source is "vault" or "dir".
	Source string
	// Name is stable over renewals: the server name in Vault's live entry, or
	// the path of the PEM file.
	Name string
	// ServerNames are the SNI names the leaf covers: lower case, punycode, no
	// trailing dot, sorted, without duplicates. A name may start with "*.".
	// A certificate that is only fit as the default one ("*") has none.
	ServerNames []string
	// Default asks that this certificate answer clients without a known SNI.
	Default bool

	// NotBefore and NotAfter are when clients accept it: the dates of the leaf and of its
	// issuer together.
	NotBefore, NotAfter time.Time
	// BeginsWith and EndsWith are the issuer whose dates these are; empty if they are those
	// of the leaf.
	BeginsWith, EndsWith string
	// Remark says what some clients may miss in the chain; empty if nothing.
	Remark string
	// Fingerprint is the SHA-256 of the leaf's DER, lower-case hex.
	Fingerprint string
	// Chain is the PEM text to serve: the leaf, then its issuers in order,
	// without the root.
	Chain []byte
	// Chains are the chains that are sent one after the other, if time changes what is
	// sent; empty for one chain. The fields above are as the last one has them: see At.
	Chains []Chain
	// Kind is the kind of its key.
	Kind Kind `json:"-"`
	// Key is the private key that belongs to the leaf, in PEM.
	Key secret.Bytes
}

// Sink takes what a certificate store reads. SyncCertificates is called after
// each complete, successful read with all usable certificates of that source
// and all that is wrong with the others; a failed read does not call it. The
// subject of a problem is the entry, such as a file; the reason says what is wrong
// with it and what is served instead. The first call tells that the source has
// synced. It returns as soon as the change is noted.
type Sink interface {
	SyncCertificates(source string, certificates []*Certificate, problems []problem.Problem)
}
