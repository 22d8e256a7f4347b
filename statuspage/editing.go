package statuspage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
)

// Incidents are all that are kept, the newest first: for people and for other Relays.
func (m *Monitor) Incidents() []api.Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, all := time.Now(), make([]api.Incident, 0, len(m.incidents))
	for _, in := range m.incidents {
		all = append(all, in.api(now))
	}
	slices.SortFunc(all, func(a, b api.Incident) int { return newestFirst(a.Begin, b.Begin, a.ID, b.ID) })
	return all
}

// Open publishes an incident, or maintenance. The error is of the kind ErrInvalid or ErrTooMany.
func (m *Monitor) Open(d Draft) (api.IncidentChange, error) {
	return m.edit(func(now time.Time) (incident, error) {
		if lasting := m.lasting(now); lasting >= maxLasting {
			return incident{}, fmt.Errorf("%w incidents that last: %d: close those that are over", ErrTooMany, lasting)
		}
		return newIncident(d, m.names, now)
	})
}

// lasting counts the incidents that last.
func (m *Monitor) lasting(now time.Time) (n int) {
	for _, in := range m.incidents {
		if in.lasts(now) {
			n++
		}
	}
	return n
}

// Update adds a text to an incident, and gives it another state unless that is empty. The error is of the kind ErrNoIncident,
// ErrClosed, ErrInvalid or ErrTooMany.
func (m *Monitor) Update(id, text, state string) (api.IncidentChange, error) {
	return m.change(id, text, state, false)
}

// Close ends an incident or maintenance, with a last text. The errors are those of Update.
func (m *Monitor) Close(id, text string) (api.IncidentChange, error) {
	return m.change(id, text, "", true)
}

func (m *Monitor) change(id, text, state string, close bool) (api.IncidentChange, error) {
	return m.edit(func(now time.Time) (incident, error) {
		in, ok := m.incidents[id]
		if !ok {
			return incident{}, fmt.Errorf("%w: %.60q%s", ErrNoIncident, id, m.lastingIDs(now))
		}
		changed, err := in.updated(text, state, close, now)
		if err != nil {
			return in, err
		}
		return changed, nil
	})
}

// lastingIDs says which there are.
func (m *Monitor) lastingIDs(now time.Time) string {
	var ids []string
	for id, in := range m.incidents {
		if in.lasts(now) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return ": none lasts now"
	}
	slices.Sort(ids)
	return ": those that last are " + strings.Join(ids, ", ")
}

// edit makes one change after the other, shows it at once, and saves it before it returns.
func (m *Monitor) edit(make func(now time.Time) (incident, error)) (api.IncidentChange, error) {
	in, err := m.editShown(make)
	now := time.Now()
	if err != nil {
		if in.ID == "" || len(in.Updates) == 0 {
			return api.IncidentChange{}, err
		}
		return api.IncidentChange{Incident: in.api(now)}, err
	}
	m.cfg.Log.Info("an incident was published", "event", "incident_changed", "incident", in.ID, "state", in.state(now))
	done := api.IncidentChange{Incident: in.api(now)}
	if m.cfg.Dir == "" {
		done.Unsaved = "this Relay keeps nothing (--state-dir)"
	} else if err := m.save(); err != nil {
		done.Unsaved = err.Error()
	}
	return done, nil
}

func (m *Monitor) editShown(make func(now time.Time) (incident, error)) (incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	in, err := make(now)
	if err != nil {
		return in, err
	}
	if !m.hasRoom(in, now) {
		return incident{}, fmt.Errorf("%w texts: close incidents that are over", ErrTooMany)
	}
	m.put(in)
	m.forget(now)
	m.show(now)
	return in, nil
}

// hasRoom reports whether the texts of an incident and of all others that last are not too long together. Those of the others
// are forgotten where they would be.
func (m *Monitor) hasRoom(in incident, now time.Time) bool {
	size := in.size()
	for id, other := range m.incidents {
		if id != in.ID && other.lasts(now) {
			size += other.size()
		}
	}
	return size <= maxTexts
}

func (m *Monitor) put(in incident) {
	m.incidents[in.ID] = in
	m.changedIncidents[in.ID] = true
}

// learn takes in what a place knows of incidents. What is not as it has to be is left out, and so is what would be too much here: one
// place must not be able to fill the page.
func (m *Monitor) learn(place string, list []api.Incident) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, changed := time.Now(), false
	lasting := m.lasting(now)
	for _, a := range list {
		in := fromAPI(a)
		mine, known := m.incidents[a.ID]
		if known && in.equal(mine) || !known && len(m.incidents) >= maxIncidents || !m.hasRoom(in, now) {
			continue
		}
		if err := in.foreign(now); err != nil {
			m.cfg.Log.Debug("an incident of another place is left out", "event", "incident_refused", "place", place, "error", err)
			continue
		}
		if known {
			in = mine.merged(in)
		}
		if !known && in.lasts(now) {
			if lasting >= maxLasting {
				continue
			}
			lasting++
		}
		if forgotten(in, now) || known && in.equal(mine) || !m.hasRoom(in, now) {
			continue
		}
		m.put(in)
		changed = true
	}
	if changed {
		m.forget(now)
		m.show(now)
	}
}

// forgotten reports whether an incident ended too long ago.
func forgotten(in incident, now time.Time) bool {
	end := in.end()
	return !end.IsZero() && now.Sub(end) > keptIncidents
}

// forget removes incidents that ended long ago, the oldest of too many, and services that the page does not have any more.
func (m *Monitor) forget(now time.Time) {
	var ended []incident
	size := 0
	for _, in := range m.incidents {
		if size += in.size(); !in.lasts(now) {
			ended = append(ended, in)
		}
	}
	slices.SortFunc(ended, func(a, b incident) int { return a.end().Compare(b.end()) })
	for i, in := range ended {
		if forgotten(in, now) || len(ended)-i > maxIncidents-2*maxLasting || size > maxTexts {
			size -= in.size()
			delete(m.incidents, in.ID)
			m.changedIncidents[in.ID] = true
		}
	}
	former := m.formerServices()
	for i, name := range former {
		if now.Sub(m.records[name].Seen) > shownDays*dayLength || len(former)-i > maxFormer {
			delete(m.records, name)
			m.changedServices[name] = true
		}
	}
}
