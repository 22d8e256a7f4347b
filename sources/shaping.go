package sources

// Shaping says how requests and answers are changed on their way. It is never modified.
type Shaping struct{}
