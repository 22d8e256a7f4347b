package marathon

import "sync"

// maxTold bounds what is remembered. Beyond it, things may be said twice.
const maxTold = 10_000

// told remembers what the log was told, so that what is wrong with an app is said once, and
// again when it is wrong in another way.
type told struct {
	mu   sync.Mutex
	last map[string]string
}

// isNew reports whether text was not the last that was said about what.
func (t *told) isNew(what, text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if was, ok := t.last[what]; ok && was == text {
		return false
	}
	if t.last == nil || len(t.last) >= maxTold {
		t.last = make(map[string]string)
	}
	t.last[what] = text
	return true
}

// isOver forgets what was said.
func (t *told) isOver(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.last, what)
}
