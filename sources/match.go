package sources

// Match is what a request must be like, beyond its path. It is never modified.
type Match struct{}
