package xds

import (
	"runtime/debug"
	"sync"
	"time"
)

// collector keeps garbage small while Envoys come in numbers. What their requests
// leave behind would otherwise grow to as much as all else that the process has,
// and stay.
type collector struct {
	mu sync.Mutex
	// until is when the crowd has passed, unless more come; usual is the garbage
	// allowed otherwise, in percent of what is in use.
	until time.Time
	usual int
	on    bool
}

const (
	// crowdPercent is how much garbage there may be while Envoys wait.
	crowdPercent = 75
	// crowdPassed is how long after the last one waited the crowd has passed.
	crowdPassed = 2 * time.Second
)

// garbage is one for the process, as its heap is.
var garbage collector

// crowd notes that Envoys wait for room.
func (c *collector) crowd() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = time.Now().Add(crowdPassed)
	if c.on {
		return
	}
	c.on = true
	if c.usual = debug.SetGCPercent(crowdPercent); c.usual < crowdPercent {
		debug.SetGCPercent(c.usual)
	}
	time.AfterFunc(crowdPassed, c.passed)
}

// passed gives back what the crowd took.
func (c *collector) passed() {
	c.mu.Lock()
	if left := time.Until(c.until); left > 0 {
		time.AfterFunc(left, c.passed)
		c.mu.Unlock()
		return
	}
	debug.SetGCPercent(c.usual)
	c.on = false
	c.mu.Unlock()
	debug.FreeOSMemory()
}
