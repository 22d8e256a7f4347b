package api

// TailNotice is a line of /api/v1/tail that is no request.
type TailNotice struct {
	Notice Notice `json:"notice"`
}

// Notice says how following requests goes. There is one at the beginning, one every few seconds,
// and one at the end.
type Notice struct {
	State TailState `json:"state"`
	// Text says the same for people.
	Text string `json:"text"`
	// Envoys is how many report the requests, and Waiting are some of those that do not yet, each
	// as its fleet, a slash and its node id.
	Envoys  int      `json:"envoys"`
	Waiting []string `json:"waiting,omitempty"`
	// Skipped is how many requests are not shown, of those since the notice before: there were
	// too many, or they were not read in time.
	Skipped uint64 `json:"skipped,omitempty"`
}

// TailState is how far following requests has come.
type TailState string

// The states. While it waits, only the Envoys that have it report.
const (
	TailOn      TailState = "on"
	TailWaiting TailState = "waiting"
	TailEnded   TailState = "ended"
)
