package logs

import "slices"

// Waiting are the messages that are not sent yet.
func (s *Syslog) Waiting() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.waiting)
}
