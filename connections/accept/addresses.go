package accept

import (
	"net/netip"
	"time"
)

// maxAddresses bounds the clients of an app port whose connections are counted. If there are more,
// some are forgotten, and may open connections as if they had opened none.
const maxAddresses = 20_000

// addresses limits how many connections each client opens a second.
type addresses struct {
	// free is when a client will have used up nothing of what it may; without an entry, that is so.
	free  map[netip.Prefix]time.Time
	swept time.Time
}

// take reports whether a client may open one more connection now, and counts it. At one moment it may
// open as many as in a second.
func (a *addresses) take(client netip.Prefix, rate float64, now time.Time) bool {
	if rate <= 0 || !client.IsValid() {
		return true
	}
	each := time.Duration(float64(time.Second) / rate)
	free := a.free[client]
	if free.Before(now) {
		free = now
	}
	if free.Sub(now) > max(0, time.Second-each) {
		return false
	}
	if a.free == nil {
		a.free = make(map[netip.Prefix]time.Time)
	}
	if len(a.free) >= maxAddresses {
		a.sweep(now)
	}
	a.free[client] = free.Add(each)
	return true
}

// sweep makes room.
func (a *addresses) sweep(now time.Time) {
	if now.Sub(a.swept) > time.Second {
		a.swept = now
		for client, free := range a.free {
			if free.Before(now) {
				delete(a.free, client)
			}
		}
	}
	for client := range a.free {
		if len(a.free) < maxAddresses {
			return
		}
		delete(a.free, client)
	}
}
