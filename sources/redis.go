package sources

// Redis says how a TCP service speaks the protocol of Redis. It is never modified.
type Redis struct{}

// credentials returns the names of those that clients and servers of Redis are asked for.
func (r *Redis) credentials() []string { return nil }
