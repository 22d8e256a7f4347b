package certs

// CauseSink is a Sink that wants to know why it is told something.
type CauseSink interface {
	Sink
	// CertificatesBecause says why the next call of SyncCertificates of a source is made, in
	// words for people, such as "poll". It is called from the goroutine that makes that call.
	CertificatesBecause(source, cause string)
}

// Because tells a Sink why its next call for a source is made, if it wants to know.
func Because(sink Sink, source, cause string) {
	if s, ok := sink.(CauseSink); ok {
		s.CertificatesBecause(source, cause)
	}
}
