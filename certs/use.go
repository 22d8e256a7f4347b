package certs

// Selected is a certificate that Select chose for a server name, or as the
// default one.
type Selected struct {
	*Certificate
	Use Use
}

// Use says whether clients are shown a certificate.
type Use uint8

const (
	// UseUnknown is the answer until apps have been read.
	UseUnknown Use = iota
	// Unused certificates have no server name that is the domain of an app.
	Unused
	// InUse certificates answer for the domain of an app, or are the default one.
	InUse
)
