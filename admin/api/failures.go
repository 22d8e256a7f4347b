package api

import "time"

// Failures is the answer of /api/v1/failures, the newest first.
type Failures struct {
	Failures []Failure `json:"failures"`
	Page
}

// Failure is a request that Envoy answered itself, since no app did.
type Failure struct {
	// ID grows by each failure that is kept.
	ID    uint64    `json:"id"`
	Time  time.Time `json:"time"`
	Fleet string    `json:"fleet"`
	// Envoy is the node id of the Envoy.
	Envoy string `json:"envoy"`
	// App and Port are absent where no app was found. Port is the index.
	App    string `json:"app,omitempty"`
	Port   int    `json:"port,omitempty"`
	Domain string `json:"domain,omitempty"`
	Method string `json:"method,omitempty"`
	// Path is without the query.
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	// Code is one of those of docs/errors.md, Cause says it in words.
	Code  string `json:"code"`
	Cause string `json:"cause"`
	// Instance is the address that was tried.
	Instance  string `json:"instance,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	// Client is the address of the client.
	Client string `json:"client,omitempty"`
	// Duration is in seconds.
	Duration float64 `json:"duration"`
	// Count is how many failures this one stands for, where not each is reported.
	Count int `json:"count"`
}

// Request is a line of /api/v1/tail: a request that was answered.
type Request struct {
	Time   time.Time `json:"time"`
	Fleet  string    `json:"fleet"`
	Envoy  string    `json:"envoy"`
	App    string    `json:"app,omitempty"`
	Port   int       `json:"port,omitempty"`
	Domain string    `json:"domain,omitempty"`
	Client string    `json:"client,omitempty"`
	Method string    `json:"method,omitempty"`
	// Path is without the query, unless that was asked for.
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	// Code is that of a failure; absent if the app answered.
	Code string `json:"code,omitempty"`
	// Duration is in seconds.
	Duration  float64 `json:"duration"`
	BytesIn   uint64  `json:"bytesIn"`
	BytesOut  uint64  `json:"bytesOut"`
	Instance  string  `json:"instance,omitempty"`
	RequestID string  `json:"requestId,omitempty"`
	UserAgent string  `json:"userAgent,omitempty"`
}
