package api

import "time"

// Certificates is the answer of /api/v1/certificates.
type Certificates struct {
	Certificates []Certificate `json:"certificates"`
	Page
}

// Certificate is a certificate without its key.
type Certificate struct {
	// Source is the store, Name the certificate's name there.
	Source      string    `json:"source"`
	Name        string    `json:"name"`
	ServerNames []string  `json:"serverNames,omitempty"`
	NotAfter    time.Time `json:"notAfter"`
	// DaysLeft are whole days, rounded down: negative from the moment of expiry.
	DaysLeft    int    `json:"daysLeft"`
	Fingerprint string `json:"fingerprint"`
	// EndsWithIssuer is the issuer whose end NotAfter is; absent if it is its own.
	EndsWithIssuer string `json:"endsWithIssuer,omitempty"`
	// Key is the kind of its key.
	Key string `json:"key,omitempty"`
	// ServedFor are those of ServerNames for which it is served.
	ServedFor []string `json:"servedFor,omitempty"`
	// Default tells that it answers clients without a known server name.
	Default bool `json:"default,omitempty"`
	// Domains are the routed domains for which it is served, DomainCount is their number.
	Domains     []string `json:"domains,omitempty"`
	DomainCount int      `json:"domainCount"`
	// Unused tells that no domain uses it.
	Unused bool `json:"unused"`
	// Remarks are no problems.
	Remarks []string `json:"remarks,omitempty"`
}

// CertificateStory is the answer of /api/v1/certificates/{name}, where the name is the source, a
// slash, and the name there.
type CertificateStory struct {
	Certificate
	Problems    []Problem `json:"problems,omitempty"`
	LastChanges []Change  `json:"lastChanges,omitempty"`
}

// Uncovered is the answer of /api/v1/uncovered.
type Uncovered struct {
	// Uncovered is null until apps and certificates have been read.
	Uncovered []UncoveredDomain `json:"uncovered" openapi:"null"`
}

// UncoveredDomain is a domain whose https clients are shown no certificate that they accept.
type UncoveredDomain struct {
	Fleet  string `json:"fleet"`
	Domain string `json:"domain"`
	// Wanted tells that somebody means the domain to be used by https.
	Wanted bool   `json:"wanted"`
	Reason string `json:"reason"`
}
