package scenario

import (
	"context"
	"sync"
)

// Log is in place of the database that the instances of an app share: entries in the order in which
// they came. The zero value is an empty one.
type Log[T any] struct {
	mu      sync.Mutex
	entries []T
	more    chan struct{} // closed when an entry comes
}

// Add adds an entry, and returns how many there are then.
func (l *Log[T]) Add(entry T) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return len(l.entries)
}

// After returns the entries but for the first n. It waits until there are some, or the context ends.
func (l *Log[T]) After(ctx context.Context, n int) ([]T, error) {
	for {
		l.mu.Lock()
		if n < len(l.entries) {
			entries := l.entries[n:len(l.entries):len(l.entries)]
			l.mu.Unlock()
			return entries, nil
		}
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Len is how many entries there are.
func (l *Log[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}
