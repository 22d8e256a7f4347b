package rebalance

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"relay/sources"
)

const (
	// It is uneven if an instance has more or fewer connections than its share by startOver of it. Then some
	// end, until none has more than its share by stopOver. See balanceOf for few connections.
	startOver, stopOver = 0.05, 0.01
	// headroom is how much of the rate is used: which connections end is a matter of chance.
	headroom = 0.9
	// patience is how long it must be uneven before any connection ends: what connects just now may even
	// it out.
	patience = 30 * time.Second
	// longestStep is how much time one step may make up for.
	longestStep = 20 * time.Second
	// holdFor is how long what was decided stays when it is not known any more who has how many.
	holdFor = 2 * time.Minute
	// silentFor is how long connections that were chosen are waited for. Clients that send nothing end
	// none, and as which ones are chosen is a matter of chance, there may be fewer of them than it seems. If
	// none has ended for so long, others are chosen.
	silentFor = time.Minute
	// inVain is how many times as many connections as were too many may be chosen without it getting
	// better, which is that those too many are down to better of what they were.
	inVain, better = 3, 0.9
	// firstPause and lastPause bound how long none ends after that. Each pause is twice the last.
	firstPause, lastPause = 20 * time.Minute, 4 * time.Hour
)

// instance is an endpoint of a port, as it is now.
type instance struct {
	address netip.AddrPort
	// open is how many connections it has, at all Envoys of this Relay.
	open float64
	// takes is set if new connections come to it.
	takes bool
}

// input is what the rule decides by.
type input struct {
	now time.Time
	// rate is how many percent of all connections may end a minute.
	rate      float64
	instances []instance
	// from says which Envoys count. When others do, everything begins anew.
	from   string
	envoys int
	// doubt is why it is not known how many connections instances have; empty if it is.
	doubt string
}

// state is what the rule remembers of a port. It is a value: its maps and slices are replaced, and never
// modified.
type state struct {
	shedding map[netip.AddrPort]shedding
	// before is what each instance had at the last step, at which time that was, and from whom.
	before map[netip.AddrPort]float64
	at     time.Time
	from   string
	// takers are those to which new connections came.
	takers []netip.AddrPort
	// ended are the connections that ended within the last minute, where some were to end, and chosen those
	// that were chosen within silentFor.
	ended, chosen []portion
	// uneven is since when an instance has too many, and unknown since when nobody knows; zero if not.
	uneven, unknown time.Time
	// excess is by how many connections instances had too many when that last got better, and spent how many
	// were chosen since.
	excess, spent float64
	// paused is until when none ends, as it would be in vain, and pause how long that is.
	paused time.Time
	pause  time.Duration
	// total is how many have ended since it is uneven.
	total float64
	// text is what goes on, for people.
	text  string
	phase Phase
}

// shedding is an instance whose connections end.
type shedding struct {
	// before is up to when connections began that may end, and base how many the instance had then.
	before time.Time
	base   float64
	// percent of them are to end.
	percent float64
	// progress is when one ended last.
	progress time.Time
}

// portion is some connections of an instance.
type portion struct {
	at      time.Time
	address netip.AddrPort
	n       float64
}

// left is how many of an instance's connections are to end and have not, if it has so many.
func (s *state) left(address netip.AddrPort, open float64) float64 {
	one := s.shedding[address]
	var chosen float64
	for _, c := range s.chosen {
		if c.address == address && !c.at.Before(one.before) {
			chosen += c.n
		}
	}
	return min(chosen, max(0, open-one.base*(1-one.percent/100)))
}

// within returns those of some portions that are no older than so long.
func within(portions []portion, now time.Time, age time.Duration) (young []portion) {
	for _, p := range portions {
		if now.Sub(p.at) < age {
			young = append(young, p)
		}
	}
	return young
}

// balance is what the instances of a port have, that take connections.
type balance struct {
	takers map[netip.AddrPort]float64
	// sum is how many connections there are, and share how many each is meant to have.
	sum, share float64
	// far is how far from the share is uneven, and stop how many connections are not too many.
	far, stop float64
}

func balanceOf(in *input) balance {
	b := balance{takers: make(map[netip.AddrPort]float64)}
	for _, i := range in.instances {
		if i.takes {
			b.takers[i.address] = i.open
			b.sum += i.open
		}
	}
	if len(b.takers) == 0 {
		return b
	}
	b.share = b.sum / float64(len(b.takers))
	// Each Envoy evens out its own connections, to the next whole number. The differences of several add
	// up by chance.
	extra := 1 + math.Sqrt(float64(max(in.envoys, 1)))
	b.far = max(b.share*startOver, extra)
	b.stop = b.share + max(b.share*stopOver, extra/2)
	return b
}

// excess is by how many connections instances have more than their share.
func (b *balance) excess() (n float64) {
	for _, open := range b.takers {
		n += max(0, open-b.share)
	}
	return n
}

func (b *balance) uneven() bool {
	for _, open := range b.takers {
		if math.Abs(open-b.share) >= b.far {
			return true
		}
	}
	return false
}

// over reports whether an instance has too many connections.
func (b *balance) over() bool {
	for _, open := range b.takers {
		if open > b.stop {
			return true
		}
	}
	return false
}

// next decides which instances have connections end.
func next(s state, in *input) state {
	if in.doubt != "" {
		return s.unsure(in)
	}
	s.unknown = time.Time{}
	b := balanceOf(in)
	s = s.follow(in, &b)
	s = s.judge(in, &b)
	if s.phase == Ending {
		s = s.shed(in, &b)
	}
	return s
}

// unsure keeps what was decided for a while, and has no more connections end.
func (s state) unsure(in *input) state {
	if s.unknown.IsZero() {
		s.unknown = in.now
	}
	if in.now.Sub(s.unknown) >= holdFor {
		s = state{unknown: s.unknown, ended: s.ended}
	}
	s.phase, s.text = Unknown, "it is not known how many connections the instances have: "+in.doubt
	return s
}

// follow takes over what instances have by now. What does not hold any more is given up.
func (s state) follow(in *input, b *balance) state {
	takers := slices.SortedFunc(maps.Keys(b.takers), netip.AddrPort.Compare)
	s.ended, s.chosen = within(s.ended, in.now, time.Minute), within(s.chosen, in.now, silentFor)
	if s.from != in.from {
		s = state{ended: s.ended, from: in.from}
	}
	if !slices.Equal(s.takers, takers) {
		// Others take connections now, so it may be of use again, and not to be hasty.
		s.takers, s.uneven, s.spent, s.paused, s.pause = takers, time.Time{}, 0, time.Time{}, 0
		s.excess = b.excess()
	}
	shedding := make(map[netip.AddrPort]shedding)
	before := make(map[netip.AddrPort]float64)
	for address, open := range b.takers {
		before[address] = open
		one, ok := s.shedding[address]
		if !ok {
			continue
		}
		if n := s.before[address] - open; n > 0 {
			s.ended = append(s.ended, portion{in.now.Add(-lookEvery / 2), address, n}) // since the last look, or the one before
			s.total += n
			one.progress = in.now
		}
		if open > b.stop && one.percent < 100 && in.now.Sub(one.progress) < silentFor {
			shedding[address] = one
		}
	}
	s.shedding, s.before = shedding, before
	return s
}

// judge says whether connections are to end.
func (s state) judge(in *input, b *balance) state {
	excess, uneven := b.excess(), b.uneven()
	if s.phase == Ending {
		uneven = b.over()
	}
	switch {
	case len(b.takers) < 2:
		return s.rest(Even, "fewer than two instances take connections")
	case !uneven || !b.over():
		return s.rest(Even, evenText(b))
	case s.uneven.IsZero():
		s.uneven, s.excess, s.spent, s.total = in.now, excess, 0, 0
	}
	if excess <= better*s.excess {
		s.excess, s.spent, s.pause = excess, 0, 0
	}
	switch {
	case in.now.Before(s.paused):
		return s
	case s.spent > inVain*s.excess+b.far:
		s.pause = min(max(2*s.pause, firstPause), lastPause)
		s.paused, s.spent, s.excess, s.shedding = in.now.Add(s.pause), 0, excess, nil
		s.phase, s.text = Paused, fmt.Sprintf("%.0f connections ended, and it is as uneven as before: none ends until %s. Their clients send nothing, or do not come to %s: see why",
			s.total, s.paused.UTC().Format("15:04:05 UTC"), b.emptiest())
	case in.now.Sub(s.uneven) < patience:
		s.phase, s.text = Waiting, unevenText(b)+": if that stays, some end"
	default:
		s.phase = Ending
	}
	return s
}

func (s state) rest(phase Phase, text string) state {
	return state{ended: s.ended, before: s.before, from: s.from, takers: s.takers, at: s.at, phase: phase, text: text}
}

// shed chooses how many connections of each instance end. Those that were chosen and did not end yet
// count as if they had, and of those that ended in the last minute there are no more than the rate
// allows, with what is chosen.
func (s state) shed(in *input, b *balance) state {
	step := in.now.Sub(s.at)
	if s.at.IsZero() || step > longestStep {
		step = longestStep
	}
	s.at = in.now
	var needed, left float64
	need := make(map[netip.AddrPort]float64)
	for address, open := range b.takers {
		if _, ok := s.shedding[address]; !ok {
			if open <= b.stop {
				continue
			}
			s.shedding[address] = shedding{before: in.now, base: open, progress: in.now} // a copy of this step
		}
		waiting := s.left(address, open)
		left += waiting
		need[address] = max(0, open-waiting-b.share)
		needed += need[address]
	}
	allowed := b.sum * in.rate / 100
	budget := headroom*allowed - left
	for _, e := range s.ended {
		budget -= e.n
	}
	budget = min(budget, allowed*step.Minutes(), needed)
	if budget > 0 {
		for address, n := range need {
			one, more := s.shedding[address], budget*n/needed
			one.percent = min(100, one.percent+100*more/one.base)
			s.shedding[address] = one
			s.chosen = append(s.chosen, portion{in.now, address, more})
			s.spent += more
		}
	}
	s.text = s.endingText(in, b, left)
	return s
}

// sheds is what each endpoint is to be told.
func (s *state) sheds() map[netip.AddrPort]sources.Shed {
	var all map[netip.AddrPort]sources.Shed
	for address, one := range s.shedding {
		percent := math.Round(one.percent*100) / 100
		if percent <= 0 {
			continue
		}
		if all == nil {
			all = make(map[netip.AddrPort]sources.Shed)
		}
		all[address] = sources.Shed{Percent: percent, Before: one.before.Unix()}
	}
	return all
}

// emptiest is the instance with the fewest connections.
func (b *balance) emptiest() netip.AddrPort {
	return slices.MinFunc(slices.Collect(maps.Keys(b.takers)), func(x, y netip.AddrPort) int {
		return cmp.Or(cmp.Compare(b.takers[x], b.takers[y]), x.Compare(y))
	})
}
