package sources

import (
	"reflect"
	"time"
)

// RequestLimits bounds how many requests there are, and how large. It is never modified.
type RequestLimits struct {
	// Rate bounds the requests of all clients together, and PerClient those of each.
	Rate      *Rate       `json:",omitempty"`
	PerClient *ClientRate `json:",omitempty"`
	// MaxBody is how many bytes the body of a request may have, and MaxHeaders its head; 0 is no limit.
	MaxBody    int64 `json:",omitempty"`
	MaxHeaders int   `json:",omitempty"`
	// Streams is set if the port speaks gRPC, of whose streams the length is not bounded.
	Streams bool `json:",omitempty"`
	// Everywhere is set if the fleet has a service that counts the requests over all its Envoys.
	Everywhere bool `json:"-"`
	// SaidOnly is set for Envoys that bound bodies only if their length is said.
	SaidOnly bool `json:"-"`
}

// Rate is how many requests there may be in some time. Burst is how many may come at once, after there
// were none for long enough.
type Rate struct {
	Requests, Burst uint32
	Per             time.Duration
}

// Pause is the time after which there may be one more request.
func (r Rate) Pause() time.Duration { return r.Per / time.Duration(r.Requests) }

// ClientRate is a rate for each client: by the value of a header, or by its address where there is none.
type ClientRate struct {
	Rate
	// Header is in lower case; empty if the address alone counts.
	Header string `json:",omitempty"`
	// Clients is how many an Envoy remembers for each route; 0 is as many as it may. It is no matter of the source.
	Clients uint32 `json:"-"`
}

// MaxHeldBody is how many bytes Envoys hold of a body whose length is not known: no limit is larger for
// such a one.
const MaxHeldBody = 16 << 20

// HeldBody is how long a body may be whose length is not known.
func (l *RequestLimits) HeldBody() int64 { return min(l.MaxBody, MaxHeldBody) }

// Equal reports whether both bound the same. Either may be nil.
func (l *RequestLimits) Equal(other *RequestLimits) bool { return reflect.DeepEqual(l, other) }
