package traffic

import "time"

// shortest and shorter are the intervals that Envoys are told at least where they are to report
// more often than usual.
const shortest, shorter = time.Second, 5 * time.Second

// Pace has the Envoys of a fleet report more often than usual, so often if that costs no more, each second,
// than what the largest fleets do: else every 5 s, or as usual. 0 ends it.
func (l *Loads) Pace(fleetName string, every time.Duration) {
	l.locked(fleetName, func(f *fleet, _ time.Time) {
		if f.pace == every {
			return
		}
		f.pace = every
		f.watches.tell()
	})
}

// intervalFor returns how often the Envoys of a fleet report, in place of the usual interval.
func intervalFor(usual, pace time.Duration, clusters, envoys int) time.Duration {
	for _, interval := range []time.Duration{max(pace, shortest), shorter, usual} {
		if interval < usual && (pace == 0 || interval < pace) || interval > usual {
			continue
		}
		// As much may be reported in a shorter time as usual, in proportion.
		share := float64(interval) / float64(usual)
		if float64(clusters) <= share*manyClusters && float64(clusters)*float64(envoys) <= share*manyReported {
			return interval
		}
	}
	return 3 * usual
}
