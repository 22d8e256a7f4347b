package sources

// RequestLimits bounds how many requests there are, and how large. It is never modified.
type RequestLimits struct{}
