package api

import (
	"encoding/json"
	"time"
)

// Changes is the answer of /api/v1/changes, the newest first.
type Changes struct {
	Changes []Change `json:"changes"`
	Page
}

// Change is one step that was published to a fleet, and why.
type Change struct {
	// ID grows by each change, of all fleets.
	ID   uint64    `json:"id"`
	Time time.Time `json:"time"`
	// Revision is the fleet's after the change.
	Fleet    string `json:"fleet"`
	Revision uint64 `json:"revision"`
	// Cause is the event of a source, in words.
	Cause string `json:"cause"`
	// Apps and Certificates are those that it is for: the first few.
	Apps []string `json:"apps,omitempty"`
	// AppCount counts all apps.
	AppCount     int      `json:"appCount,omitempty"`
	Certificates []string `json:"certificates,omitempty"`
	// What says what differed, in words: the first few.
	What []string `json:"what,omitempty"`
	// Resources is how many of Envoy's resources were set or removed.
	Resources int `json:"resources"`
	// Converged is how many seconds it took until all Envoys had it; absent until then.
	Converged *float64 `json:"converged,omitempty"`
	// Waiting are the first few Envoys that do not have it.
	Waiting  []string   `json:"waiting,omitempty"`
	Rejected []Rejected `json:"rejected,omitempty"`
}

// Rejected is what an Envoy rejected of a change.
type Rejected struct {
	Envoy string `json:"envoy"`
	// Resource is its type and name.
	Resource string `json:"resource"`
	Error    string `json:"error"`
}

// Diff is the answer of /api/v1/diff: what a change did to Envoy's resources.
type Diff struct {
	Change Change `json:"change"`
	// Known is false if the resources were too many, or are not kept any more.
	Known     bool           `json:"known"`
	Resources []ResourceDiff `json:"resources"`
}

// ResourceDiff is a resource before and after a change, as Envoy's JSON with secrets masked.
type ResourceDiff struct {
	Type string `json:"type"`
	Name string `json:"name"`
	// Before is absent for a new resource, After for one that was removed.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}
