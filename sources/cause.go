package sources

// CauseSink is a Sink that wants to know why it is told something.
type CauseSink interface {
	Sink
	// AppsBecause says why the next call of SyncApps or UpdateApps is made, in words for
	// people, such as "Marathon: deployment_success". It is called from the goroutine that makes that call.
	AppsBecause(cause string)
}

// Because tells a Sink why its next call is made, if it wants to know.
func Because(sink Sink, cause string) {
	if s, ok := sink.(CauseSink); ok {
		s.AppsBecause(cause)
	}
}
