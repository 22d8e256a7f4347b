package traffic

import (
	"time"

	"relay/internal/failure"
)

const (
	// FailureStep is the length of a step of FailureSeries, and failureSteps how many there are.
	FailureStep  = 10 * time.Second
	failureSteps = 360
	// spanOfCounts is what each of the countsOfApp counts of an app is for. The first of them
	// is there in part.
	spanOfCounts = 5 * time.Minute
	countsOfApp  = 13
)

// fleetFailures are the numbers of failures of a fleet.
type fleetFailures struct {
	counts map[string]uint64 // by code
	// sampled is how many of them were not looked into.
	sampled uint64
	// steps are those for which no client is to blame, by steps of the last hour.
	steps [failureSteps]uint64
	last  int64 // the newest step
}

func (f *fleetFailures) add(code failure.Code, n uint64, now time.Time) {
	f.counts[code.Name] += n
	f.sampled += n - 1
	if !code.Problem() {
		return
	}
	f.advance(now)
	f.steps[f.last%failureSteps] += n
}

// advance makes the step of a moment the newest.
func (f *fleetFailures) advance(now time.Time) {
	step := now.UnixNano() / int64(FailureStep)
	for i := max(f.last+1, step-failureSteps+1); i <= step; i++ {
		f.steps[i%failureSteps] = 0
	}
	f.last = max(f.last, step)
}

// recentCounts counts the failures of an app in the last hour.
type recentCounts struct {
	counts [countsOfApp]uint32
	last   int64 // the newest span
}

func (c *recentCounts) advance(now time.Time) {
	span := now.UnixNano() / int64(spanOfCounts)
	for i := max(c.last+1, span-countsOfApp+1); i <= span; i++ {
		c.counts[i%countsOfApp] = 0
	}
	c.last = max(c.last, span)
}

func (c *recentCounts) add(now time.Time, n uint64) {
	c.advance(now)
	slot := &c.counts[c.last%countsOfApp]
	*slot = uint32(min(uint64(*slot)+n, 1<<32-1))
}

// sum returns how many there were in the last hour, and up to five minutes before.
func (c *recentCounts) sum(now time.Time) (n uint64) {
	c.advance(now)
	for _, count := range c.counts {
		n += uint64(count)
	}
	return n
}

// Series returns the failures of a fleet per second, for which no client is to blame, in steps of
// FailureStep, the oldest first. The last step is the newest that is over. Start is when the
// first begins, at a multiple of FailureStep since 1970; nothing is known of the time before f was
// made. Without a name it is of all fleets.
func (f *Failures) Series(fleet string) (start time.Time, perSecond []float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	first := now.UnixNano()/int64(FailureStep) - failureSteps + 1
	perSecond = make([]float64, failureSteps-1)
	for name, of := range f.fleets {
		if fleet != "" && fleet != name {
			continue
		}
		of.advance(now)
		for i := range perSecond {
			perSecond[i] += float64(of.steps[(first+int64(i))%failureSteps]) / FailureStep.Seconds()
		}
	}
	if unknown := f.since.UnixNano()/int64(FailureStep) - first; unknown > 0 {
		unknown = min(unknown, int64(len(perSecond)))
		first, perSecond = first+unknown, perSecond[unknown:]
	}
	return time.Unix(0, first*int64(FailureStep)), perSecond
}

// PerSecond returns how many failures a fleet had per second in the last minute that is over, for
// which no client is to blame. Without a name it is of all fleets.
func (f *Failures) PerSecond(fleet string) (rate float64) {
	_, series := f.Series(fleet)
	const steps = int(time.Minute / FailureStep)
	for _, r := range series[max(0, len(series)-steps):] {
		rate += r / float64(steps)
	}
	return rate
}
