package statuspage

import (
	"time"
)

// seenProbe is what is judged of an api.Probe: nothing of it is shown to the public.
type seenProbe struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	Fleet    string    `json:"fleet"`
	Envoy    string    `json:"envoy"`
	Domain   string    `json:"domain"`
	App      string    `json:"app"`
	Sampled  bool      `json:"sampled"`
	Success  bool      `json:"success"`
	Late     bool      `json:"late"`
	Skipped  string    `json:"skipped"`
	Time     time.Time `json:"time"`
	Since    time.Time `json:"since"`
	Duration float64   `json:"duration"`
	Interval float64   `json:"interval"`
}

// observation is what a place said last.
type observation struct {
	place string
	// away tells that it has not said anything of late.
	away bool
	// at is when it answered, by its own clock, which is that of the probes too. interval is how often it asks.
	at       time.Time
	interval time.Duration
	// sampleInterval is how often it asks what was chosen by chance.
	sampleInterval time.Duration
	probes         []seenProbe
}

// Probes whose result is older than this many intervals, and a while, say nothing.
const (
	staleIntervals = 3
	staleSlack     = time.Minute
)

func (o observation) fresh(p seenProbe) bool {
	interval := o.interval
	if !p.Sampled { // of an app with very many, each is asked seldom
		interval = max(interval, seconds(p.Interval, maxInterval))
	}
	return !p.Time.IsZero() && o.at.Sub(p.Time) <= staleIntervals*interval+staleSlack
}

// lasts reports whether a result counts where there is no fresh one. What was chosen by chance is asked seldom: if all of a
// service is, its state would come and go.
func (o observation) lasts(p seenProbe) bool {
	return p.Sampled && !p.Time.IsZero() && o.at.Sub(p.Time) <= o.sampleInterval*3/2+staleSlack
}

// confirmed reports whether the failure of a probe was found at least twice in a row.
func (p seenProbe) confirmed() bool { return p.Since.IsZero() || p.Time.After(p.Since) }

// tally counts the probes of a service at a place.
type tally struct {
	// ok, slow and failing were asked. pending failed for the first time: the next time will tell.
	ok, slow, failing, pending int
	// sampled are those of pending that were chosen by chance. They are asked seldom.
	sampled int
	skipped int
}

// settled counts what failed for the first time where that is sure: two probes that were chosen by chance confirm each other,
// since neither is asked again for long.
func (t tally) settled() tally {
	if t.sampled >= 2 {
		t.failing, t.pending, t.sampled = t.failing+t.sampled, t.pending-t.sampled, 0
	}
	return t
}

func (t tally) asked() int { return t.ok + t.slow + t.failing }

// verdict is how a place sees a service. keep tells that it says nothing new: only first failures are known.
type verdict struct {
	state State
	keep  bool
}

// of judges a tally. What was not asked, since it sleeps, is up: the first request would wake it.
func (t tally) of(limits Thresholds) verdict {
	t = t.settled()
	n := t.asked()
	switch {
	case n == 0 && t.pending > 0:
		return verdict{state: Unknown, keep: true}
	case n == 0 && t.skipped > 0:
		return verdict{state: Up}
	case n == 0:
		return verdict{state: Unknown}
	case t.failing*100 >= limits.Down*n:
		return verdict{state: Down}
	case (t.failing+t.slow)*100 >= limits.Degraded*n:
		return verdict{state: Degraded}
	}
	return verdict{state: Up}
}

// raw is the verdict if first failures count at once: what a place that lost its network finds first.
func (t tally) raw(limits Thresholds) State {
	t.failing, t.pending, t.sampled, t.skipped = t.failing+t.pending, 0, 0, 0
	return t.of(limits).state
}

// placeView is how a place sees all services.
type placeView struct {
	name    string
	away    bool
	tallies []tally
	// asked and failed count the probes that are of any service, each once.
	asked, failed int
	// envoys are those through which these were asked.
	envoys map[seenEnvoy]bool
	// older counts those that say something where there is no fresh one.
	older int
	// twice is another name of the same place, which is the one that counts; err is why it could not be asked.
	twice string
	err   error
}

type seenEnvoy struct{ fleet, id string }

// nearlyAll is the share of failed probes, in percent, from which a place may be blind.
const nearlyAll = 90

func (v placeView) seesNothing() bool {
	return !v.away && v.asked > 0 && v.failed*100 >= nearlyAll*v.asked
}

// look counts what a place says by services.
func look(o observation, services []ServiceSettings, selectors []selector) placeView {
	v := placeView{name: o.place, away: o.away, tallies: make([]tally, len(services)), envoys: make(map[seenEnvoy]bool)}
	if o.away {
		return v
	}
	older := make([]tally, len(services))
	for _, p := range o.probes {
		into, fresh := v.tallies, o.fresh(p)
		if !fresh && !o.lasts(p) {
			continue
		}
		if !fresh {
			into = older
		}
		any := false
		for i, s := range selectors {
			if s.selects(p) {
				into[i].count(p, services[i].Slow)
				any = true
			}
		}
		v.countIn(p, any, fresh)
	}
	for i, t := range older {
		if v.tallies[i] == (tally{}) {
			v.tallies[i] = t
		}
	}
	return v
}

// countIn counts a probe, if it is of any service.
func (v *placeView) countIn(p seenProbe, any, fresh bool) {
	switch {
	case !any || p.Skipped != "":
	case !fresh: // says nothing of how the place is now
		v.older++
	default:
		v.asked++
		v.envoys[seenEnvoy{p.Fleet, p.Envoy}] = true
		if !p.Success && !p.Late {
			v.failed++
		}
	}
}

func (t *tally) count(p seenProbe, slow time.Duration) {
	switch {
	case p.Skipped != "":
		t.skipped++
	case p.Late && p.confirmed():
		t.slow++
	case !p.Success && p.confirmed():
		t.failing++
	case !p.Success:
		if t.pending++; p.Sampled {
			t.sampled++
		}
	case slow > 0 && p.Duration > slow.Seconds():
		t.slow++
	default:
		t.ok++
	}
}

// blind says which places see nothing while others do: they do not count. A place alone in it is blind as soon as one
// other sees most of the same services; several are blind only if more than they are see them. So a real failure,
// which most places see, makes none of them blind. Lately has those that were blind a moment ago: they are still while nobody
// else says anything, such as when the others are started anew. Sure are those that others show to be blind now.
func blind(views []placeView, services []ServiceSettings, lately []bool) (found, sure []bool) {
	found, sure = make([]bool, len(views)), make([]bool, len(views))
	for i, v := range views {
		if !v.seesNothing() {
			continue
		}
		alike, seeing, others := 1, 0, 0
		for j, other := range views {
			common, up := compare(v, other, services)
			if j == i || common == 0 {
				continue
			}
			others++
			switch {
			case other.seesNothing():
				alike++
			case up*2 > common:
				seeing++
			}
		}
		sure[i] = seeing > 0 && (alike == 1 || alike < seeing)
		found[i] = sure[i] || others == 0 && lately[i]
	}
	return found, sure
}

// compare counts the services that both places ask, and how many of them the other does not see down. It is 0 for places that
// ask through no Envoy in common: two Relays may have one Envoy each, of which one is down.
func compare(v, other placeView, services []ServiceSettings) (common, up int) {
	shared := false
	for e := range v.envoys {
		shared = shared || other.envoys[e]
	}
	if other.away || !shared {
		return 0, 0
	}
	for k := range services {
		if v.tallies[k].asked()+v.tallies[k].pending == 0 || other.tallies[k].asked()+other.tallies[k].pending == 0 {
			continue
		}
		common++
		if other.tallies[k].raw(services[k].Thresholds) != Down {
			up++
		}
	}
	return common, up
}

// judgement is what all places together say.
type judgement struct {
	// services has a verdict for each of the settings.
	services []verdict
	// blind has each place, sure those that others show to be so.
	blind, sure []bool
	// votes has, by service and place, how the place sees it; empty of those that do not count.
	votes [][]State
}

// judge has the places vote on each service. Lately has the places that were blind a moment ago.
func judge(views []placeView, services []ServiceSettings, lately []bool) judgement {
	var j judgement
	j.blind, j.sure = blind(views, services, lately)
	for k, s := range services {
		votes, keep := make([]State, len(views)), false
		for i, v := range views {
			if v.away || j.blind[i] {
				continue
			}
			said := v.tallies[k].of(s.Thresholds)
			keep = keep || said.keep
			if said.state != Unknown {
				votes[i] = said.state
			}
		}
		state := count(votes)
		j.services = append(j.services, verdict{state: state, keep: keep && state == Unknown})
		j.votes = append(j.votes, votes)
	}
	return j
}

// early leaves services open of which not most places have said anything: so shortly after a start, the first that
// answers does not decide alone. Those that cannot be asked are not waited for.
func (j *judgement) early(views []placeView) {
	for k, votes := range j.votes {
		n, voted := 0, 0
		for i, v := range views {
			if v.twice == "" && v.err == nil {
				n++
			}
			if votes[i] != "" {
				voted++
			}
		}
		if voted*2 <= n {
			j.services[k] = verdict{state: Unknown}
		}
	}
}

// count decides by votes: down if most see it down; degraded if at least half see it not well, since it cannot be
// reached from everywhere then; unknown if nobody votes.
func count(votes []State) State {
	n, down, bad := 0, 0, 0
	for _, v := range votes {
		switch v {
		case Down:
			down++
			bad++
		case Degraded:
			bad++
		case Up:
		default:
			continue
		}
		n++
	}
	switch {
	case n == 0:
		return Unknown
	case down*2 > n:
		return Down
	case bad*2 >= n:
		return Degraded
	}
	return Up
}
