package sources

// Redis says how a TCP service speaks the protocol of Redis. It is never modified.
type Redis struct{}
