package scaling

import "time"

// refusedFor is how long after the last change that failed people are told of it: each is tried again
// before that, as long as somebody needs it.
const refusedFor = 5 * time.Minute

// refusal is a change that the source did not make.
type refusal struct {
	app, reason string
	at          time.Time
}

// noteWrite keeps the last change that the source did not make, until it makes one. That others have
// changed the app, or deploy it, is no refusal.
func (c *Controller) noteWrite(app string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch result(err) {
	case "done":
		c.refused = refusal{}
	case "failed":
		c.refused = refusal{app, err.Error(), time.Now()}
	}
}

// Refused returns the app of which the last change was not made at the source, and why; the app is empty
// if changes are made.
func (c *Controller) Refused() (app, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.refused.at) > refusedFor {
		return "", ""
	}
	return c.refused.app, c.refused.reason
}
