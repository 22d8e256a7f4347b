package xds

import (
	"runtime/debug"
	"sync"
	"time"
)

// garbageLimiter keeps garbage small while many Envoys connect. What their requests leave behind
// would otherwise grow to as much as all else that the process has, and stay.
type garbageLimiter struct {
	mu sync.Mutex
	// until is when the limit ends, unless more Envoys wait until then.
	until time.Time
	// usual is the garbage that is allowed without the limit, in percent of what is in use.
	usual int
	on    bool
}

const (
	// waitingPercent is how much garbage there may be while Envoys wait.
	waitingPercent = 75
	// limitedFor is how long the limit lasts after the last Envoy waited.
	limitedFor = 2 * time.Second
)

// garbage is for the whole process, as its heap is.
var garbage garbageLimiter

// limit limits garbage for a while, as Envoys wait for memory.
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

// restore ends the limit, and gives the memory back that it has freed.
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
