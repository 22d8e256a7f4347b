package api

import "time"

// Authorities is the answer of /api/v1/authorities.
type Authorities struct {
	Authorities []Authority `json:"authorities"`
	Page
}

// Authority is one or more authorities that sign the certificates of clients, under one name, with their
// lists of revoked certificates.
type Authority struct {
	// Source is the store, Name what apps call it.
	Source string `json:"source"`
	Name   string `json:"name"`
	// Subjects are the names of the authorities, as their certificates have them.
	Subjects []string `json:"subjects"`
	// NotBefore is when the last of them became valid, NotAfter when the first of them expires.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// DaysLeft are whole days, rounded down: negative from the moment of expiry.
	DaysLeft int `json:"daysLeft"`
	// Revocation is absent if there is no list.
	Revocation *Revocation `json:"revocation,omitempty"`
	// Services are the apps whose TCP services let clients in by it.
	Services []string `json:"services,omitempty"`
	// UsedInstead is the store whose authority of the same name is used; absent if this one is.
	UsedInstead string `json:"usedInstead,omitempty"`
	// Remarks say what is broken in the store, missing, near its end or past it.
	Remarks []string `json:"remarks,omitempty"`
}

// Revocation sums up the lists of revoked certificates of an authority.
type Revocation struct {
	// Count is how many certificates are revoked.
	Count int `json:"count"`
	// MadeAt is when the newest list was made.
	MadeAt time.Time `json:"madeAt"`
	// OutOfDateAt is when the first of them is out of date: from then on no certificate of that authority
	// is taken. It is absent if that never is.
	OutOfDateAt *time.Time `json:"outOfDateAt,omitempty"`
}
