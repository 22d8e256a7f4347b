package statuspage

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/scrape"
)

// placeStatus is what operators are told of a place. The public is told nothing of places.
type placeStatus struct {
	away, blind bool
	twice       string
	probes      int // that say something of a service
	// blindAt is when others showed last that it is blind.
	blindAt time.Time
}

// blindLately are the places of which others showed so lately that they are blind.
func (m *Monitor) blindLately(now time.Time) []bool {
	lately := make([]bool, len(m.statuses))
	for i, s := range m.statuses {
		lately[i] = !s.blindAt.IsZero() && now.Sub(s.blindAt) < settle
	}
	return lately
}

// tellPlaces logs what has changed with the places.
func (m *Monitor) tellPlaces(views []placeView, found judgement, now time.Time) {
	for i, v := range views {
		s, log := &m.statuses[i], m.cfg.Log.With("place", v.name)
		next := placeStatus{away: v.away && v.twice == "", blind: found.blind[i], twice: v.twice, probes: v.asked + v.older, blindAt: s.blindAt}
		if found.sure[i] {
			next.blindAt = now
		}
		switch {
		case next.twice == ownPlace && next.twice != s.twice: // all that carry the page have one list
			log.Info("two places of the status page are the same: it counts once", "event", "place_twice", "other", next.twice)
		case next.twice != "" && next.twice != s.twice:
			log.Warn("two places of the status page are the same: it counts once", "event", "place_twice", "other", next.twice)
		case next.away && !s.away && m.looked.IsZero(): // it is asked for the first time
			next.away = false
		case next.away && !s.away:
			log.Warn("a place of the status page does not answer: it does not count", "event", "place_away", "error", v.err)
		case !next.away && s.away:
			log.Info("a place of the status page answers again", "event", "place_back")
		}
		switch {
		case next.blind && !s.blind:
			log.Warn("a place sees nearly everything down, and others do not: it has lost its network, and does not count", "event", "place_blind", "asked", v.asked, "failed", v.failed)
		case !next.blind && s.blind && !next.away:
			log.Info("a place is not blind any more", "event", "place_sees")
		}
		*s = next
	}
}

// unwatched is a service of which no place has a probe.
type unwatched struct {
	since time.Time // zero if there is one
	told  bool
}

// unwatchedAfter is how long after a start, or a change, there may be no probe of a service.
const unwatchedAfter = 5 * time.Minute

// tellUnwatched logs which services no place has a probe of, though some answer: most likely their patterns are wrong.
func (m *Monitor) tellUnwatched(views []placeView, now time.Time) {
	for i, name := range m.names {
		u := &m.unwatched[i]
		answers, has := false, false
		for _, v := range views {
			answers = answers || !v.away
			has = has || v.tallies[i] != (tally{})
		}
		switch {
		case has && u.told:
			m.cfg.Log.Info("there are probes of a service of the status page again", "event", "service_watched", "service", name)
			fallthrough
		case has || !answers:
			*u = unwatched{}
		case u.since.IsZero():
			u.since = now
		case !u.told && now.Sub(u.since) >= unwatchedAfter:
			u.told = true
			m.cfg.Log.Warn("no place has a probe of a service of the status page, so the public is told that nothing is known: look at its domains, apps, probes and fleets", "event", "service_unwatched", "service", name)
		}
	}
}

// Unwatched are the services of which no place has a probe, though some answer.
func (m *Monitor) Unwatched() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, name := range m.names {
		if m.unwatched[i].told {
			names = append(names, name)
		}
	}
	return names
}

func (m *Monitor) logState(service string, from, to State, views []placeView, votes []State) {
	var said []string
	for i, v := range views {
		switch {
		case votes[i] != "":
			t := v.tallies[m.indexOf(service)].settled()
			said = append(said, fmt.Sprintf("%s: %s (%d of %d failed)", v.name, votes[i], t.failing, t.asked()))
		case v.twice != "":
			said = append(said, v.name+": the same as "+v.twice)
		case v.away:
			said = append(said, v.name+": away")
		default:
			said = append(said, v.name+": says nothing")
		}
	}
	m.cfg.Log.Info("a service of the status page is in another state", "event", "service_state", "service", service, "from", from, "to", to, "places", strings.Join(said, ", "))
}

func (m *Monitor) indexOf(service string) int {
	for i, name := range m.names {
		if name == service {
			return i
		}
	}
	return -1
}

var (
	serviceGauge = scrape.NewGauge("relay_status_service", "1 for the state in which a service of the status page is, 0 for the others.", "service", "state")
	blindGauge   = scrape.NewGauge("relay_status_place_blind", "1 if a place sees nearly everything down and others do not, so that it does not count.", "place")
	awayGauge    = scrape.NewGauge("relay_status_place_away", "1 if a place of the status page does not answer, so that it does not count.", "place")
	probesGauge  = scrape.NewGauge("relay_status_place_probes", "How many probes of a place tell how a service of the status page is. 0 is a place that asks for nothing of them.", "place")
	unsavedGauge = scrape.NewGauge("relay_status_unsaved", "1 if history and incidents of the status page cannot be saved, and a restart would forget them.")
	failedCount  = scrape.NewCounter("relay_status_save_failures_total", "How often history and incidents of the status page could not be saved.")
)

func (m *Monitor) register(registerer prometheus.Registerer) {
	scrape.Register(registerer, func(set scrape.Set) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, name := range m.names {
			for _, s := range []State{Up, Degraded, Down, Unknown} {
				set(serviceGauge, number(m.tracks[i].state == s), name, string(s))
			}
		}
		for i, p := range m.places {
			set(blindGauge, number(m.statuses[i].blind), p.name)
			set(probesGauge, float64(m.statuses[i].probes), p.name)
			set(awayGauge, number(m.statuses[i].away), p.name)
		}
		set(unsavedGauge, number(m.unsaved != ""))
		set(failedCount, float64(m.failed.Load()))
	}, serviceGauge, blindGauge, awayGauge, probesGauge, unsavedGauge, failedCount)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
