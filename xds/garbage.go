package xds

import (
	"runtime/debug"
	"sync"
	"time"
)

// collector keeps garbage small while Envoys come in numbers. What their requests
// leave behind would otherwise grow to as much as all else that the process has,
// and stay.
type garbageLimiter struct {
	mu sync.Mutex
	// until is when the crowd has passed, unless more come; usual is the garbage
	// allowed otherwise, in percent of what is in use.
	until time.Time
	usual int
	on    bool
}

const (
	// crowdPercent is how much garbage there may be while Envoys wait.
	waitingPercent = 75
	// crowdPassed is how long after the last one waited the crowd has passed.
	limitedFor = 2 * time.Second
)

// garbage is one for the process, as its heap is.
var garbage garbageLimiter

// crowd notes that Envoys wait for room.
func (l *garbageLimiter) limit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Now().Add(limitedFor)
	if l.on {
		return
	}
	l.on = true
	if l.usual = debug.SetGCPercent(waitingPercent); l.usual < waitingPercent {
		debug.SetGCPercent(l.usual)
	}
	time.AfterFunc(limitedFor, l.restore)
}

// passed gives back what the crowd took.
func (l *garbageLimiter) restore() {
	l.mu.Lock()
	if left := time.Until(l.until); left > 0 {
		time.AfterFunc(left, l.restore)
		l.mu.Unlock()
		return
	}
	debug.SetGCPercent(l.usual)
	l.on = false
	l.mu.Unlock()
	debug.FreeOSMemory()
}
