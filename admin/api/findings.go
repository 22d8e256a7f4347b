package api

// Level says how bad a finding is.
type Level string

// The levels, the worst first.
const (
	// Critical findings cost requests, or soon will.
	Critical Level = "critical"
	// Warning findings are to be looked at.
	Warning Level = "warning"
	// OK is the level of the one finding there is when all is well.
	OK Level = "ok"
)

// Finding says in a sentence how something is.
type Finding struct {
	Level Level `json:"level"`
	// Text is the sentence, without a full stop.
	Text string `json:"text"`
	// Action is what to look at or to do; absent if there is nothing.
	Action string `json:"action,omitempty"`
}
