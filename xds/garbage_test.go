package xds

import (
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"testing"
	"testing/synctest"
	"time"
)

// While Envoys wait there is less garbage, and afterwards as much as before; what
// is stricter already stays.
func TestGarbageWhileEnvoysWait(t *testing.T) {
	eventually(t, "no limit of another test", func() bool {
		garbage.mu.Lock()
		defer garbage.mu.Unlock()
		return !garbage.on
	})
	for _, tt := range []struct{ usual, crowded uint64 }{{100, waitingPercent}, {waitingPercent / 2, waitingPercent / 2}} {
		synctest.Test(t, func(t *testing.T) {
			defer debug.SetGCPercent(debug.SetGCPercent(int(tt.usual)))
			expect := func(want uint64) {
				t.Helper()
				s := []runtimemetrics.Sample{{Name: "/gc/gogc:percent"}}
				runtimemetrics.Read(s)
				if got := s[0].Value.Uint64(); got != want {
					t.Errorf("garbage may be %d %%, want %d", got, want)
				}
			}
			var c garbageLimiter
			for range 3 {
				c.limit()
				expect(tt.crowded)
				time.Sleep(limitedFor - time.Millisecond)
				synctest.Wait()
				expect(tt.crowded)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			expect(tt.usual)
			c.limit()
			expect(tt.crowded)
			time.Sleep(limitedFor)
			synctest.Wait()
		})
	}
}
