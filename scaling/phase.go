package scaling

// Phase is what an app is doing.
type Phase uint8

// The phases. The zero value is of an app that was never looked at.
const (
	// Unread was read for the first time just now.
	Unread Phase = iota
	// Awake is the usual one: Envoys ask nobody.
	Awake
	// FallingAsleep has Envoys ask before each request; instances run still.
	FallingAsleep
	// Stopping was put to sleep at the source, which has not said so yet.
	Stopping
	// Asleep has no instances, and is woken by a request.
	Asleep
	// Waking was asked for at the source; no instance takes requests yet.
	Waking
	// Failed was to wake, and its tasks fail.
	Failed
	// Off has no instances, by the will of people. No request wakes it.
	Off
)

var phaseNames = [...]string{"new", "awake", "falling asleep", "stopping", "asleep", "waking", "failed", "offline"}

// String returns the name, as the API shows it.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

// MarshalText makes Phase readable in JSON.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// gated reports whether Envoys ask before each request.
func (p Phase) gated() bool {
	return p == FallingAsleep || p == Stopping || p == Asleep || p == Waking || p == Failed
}
