package traffic

import (
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/encoding/protowire"
)

// sampler decides which messages of a stream are looked into.
type sampler struct {
	// looked is the limit of this stream, own what it has in any case, and all the limit of
	// all streams.
	looked, own, all *rate.Limiter
	// skipped is how many entries were not looked into since one was.
	skipped uint64
}

func newSampler(all *rate.Limiter) *sampler {
	return &sampler{looked: rate.NewLimiter(entriesPerSecond, burst), own: rate.NewLimiter(ownPerSecond, ownBurst), all: all}
}

// next decides whether to look into a message of n entries, and if so, for how many each of them
// stands.
func (s *sampler) next(n int, now time.Time) (stands uint64, look bool) {
	if n == 0 {
		return 0, false
	}
	if !s.looked.AllowN(now, min(n, burst)) || !s.own.AllowN(now, n) && !s.all.AllowN(now, min(n, allBurst)) {
		s.skipped += uint64(n)
		return 0, false
	}
	stands = 1 + s.skipped/uint64(n)
	s.skipped %= uint64(n)
	return stands, true
}

// Fields of StreamAccessLogsMessage, and of the two messages with entries in it.
const (
	identifier, httpLogs, tcpLogs = 1, 2, 3
	logEntry                      = 1
)

// countEntries returns how many entries a message has, without understanding them; what it has
// before something that is no message, if it is none.
func countEntries(raw []byte) (n int) {
	_ = fields(raw, func(field protowire.Number, _ uint64, logs []byte) error {
		if logs == nil || field != httpLogs && field != tcpLogs {
			return nil
		}
		return fields(logs, func(field protowire.Number, _ uint64, entry []byte) error {
			if entry != nil && field == logEntry {
				n++
			}
			return nil
		})
	})
	return n
}
