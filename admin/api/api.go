// Package api has what the admin endpoint answers at /api/v1/, as Go types. The server fills
// them, and programs that read the answers decode into them: the command line, tests. So the
// names in JSON are written once. Fields are added at any time, and none is taken away.
//
// Times are RFC 3339. Durations are in seconds, rates per second. What is not known is absent:
// a Load is nil where no Envoy has reported.
package api

import "relay/internal/problem"

// Error is the answer of a request that failed.
type Error struct {
	// Error is what was wrong, in words for people.
	Error string `json:"error"`
}

// Page is a part of every list that is read page by page.
type Page struct {
	// Next is the cursor of the next page; absent at the end.
	Next string `json:"next,omitempty"`
	// Total counts all that the query has, on all pages.
	Total int `json:"total"`
}

// The number of entries on a page.
const (
	DefaultLimit = 1000
	MaxLimit     = 10_000
)

// Problem is one thing that is ignored or does not work: its subject is what has the problem,
// its kind says what that is: an app, a fleet, a certificate, an Envoy or a source.
type Problem = problem.Problem

// Group is the problems of one app, domain or other thing.
type Group = problem.Group

// Problems is the answer of /api/v1/problems.
type Problems struct {
	// Summary is one sentence: what is not served.
	Summary string `json:"summary"`
	// Groups are the first groups, the worst first; MoreGroups counts the others.
	Groups     []Group `json:"groups"`
	MoreGroups int     `json:"moreGroups,omitempty"`
	// Problems are the worst first.
	Problems []Problem `json:"problems"`
	Page
}

// Load is what Envoys reported of requests or, of a TCP service, of connections.
type Load struct {
	// Requests and Errors are per second, over the last minute. Errors are answers of 500 and
	// above, and requests that got no answer.
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors"`
	// Requests10m and Errors10m are per second, over the last ten minutes.
	Requests10m float64 `json:"requests10m"`
	Errors10m   float64 `json:"errors10m"`
	// InProgress is how many are being answered.
	InProgress int `json:"inProgress"`
}
