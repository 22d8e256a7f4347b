package statuspage

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"
)

// save writes what has changed, and opens the file if it is not open. It returns why that is not possible.
func (m *Monitor) save() error {
	m.saving.Lock()
	defer m.saving.Unlock()
	if m.cfg.Dir == "" {
		return nil
	}
	err := m.toDisk()
	if errors.Is(err, errDamaged) && m.setAside(err) { // which was not found before: all is in memory still
		err = m.write()
	}
	m.tellSaved(err)
	return err
}

func (m *Monitor) write() error {
	if err := m.open(); err != nil {
		return err
	}
	c := m.takeChanges()
	err := m.store.write(c)
	if err != nil {
		m.putBack(c)
	}
	if errors.Is(err, errDamaged) {
		m.store = nil
	}
	return err
}

// open opens the file, and takes in what it has the first time.
func (m *Monitor) open() error {
	if m.store != nil {
		return nil
	}
	if err := os.MkdirAll(m.cfg.Dir, 0o700); err != nil {
		return err
	}
	s, found, err := openStore(m.cfg.Dir)
	if err != nil {
		return err
	}
	for _, text := range found.unsound {
		m.cfg.Log.Warn("an entry of the status page's file cannot be used: it is left out", "event", "history_entry", "entry", text)
	}
	m.store = s
	m.takeIn(found)
	return nil
}

// hold shows the states of shortly before the start, as if they were found now: a restart is no news to the public. They
// end if nothing is found for settle.
func (m *Monitor) hold() {
	now := time.Now()
	for i, name := range m.names {
		r, old := m.records[name], m.prior[name]
		if gap := now.Sub(old.Seen); m.tracks[i].state != Unknown || old.State == "" || gap > holds || gap < -holds {
			continue
		}
		r.State, r.Since, r.Seen = old.State, old.Since, old.Seen
		m.tracks[i] = track{state: old.State, unknownSince: now}
	}
}

func (m *Monitor) setAside(cause error) bool {
	name, err := setAside(m.cfg.Dir)
	if err != nil {
		m.cfg.Log.Error("the file of the status page is damaged, and cannot be given another name", "event", "history_damaged", "error", errors.Join(cause, err))
		return false
	}
	m.cfg.Log.Error("the file of the status page is damaged: it has another name now, and a new one begins", "event", "history_damaged", "file", name, "error", cause)
	return true
}

// takeIn adds what the file has to what is known. All of it is written anew if the file was opened before: it may be a new one.
func (m *Monitor) takeIn(found saved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.loaded {
		for name, old := range found.services {
			m.prior[name] = old
			mine := m.records[name]
			if mine == nil { // the page had it before, and may have it again
				mine = &record{State: Unknown, Seen: old.Seen}
				m.records[name] = mine
			}
			mine.merge(old, old.Seen)
			mine.resume(old)
		}
		for id, in := range found.incidents {
			if mine, ok := m.incidents[id]; ok {
				in = mine.merged(in)
			}
			m.incidents[id] = in
		}
		m.hold()
		m.loaded = true
	}
	for name := range m.records {
		m.changedServices[name] = true
	}
	for id := range m.incidents {
		m.changedIncidents[id] = true
	}
	m.show(m.view.Time)
}

// takeChanges returns what is not saved yet, and says that it is.
func (m *Monitor) takeChanges() changes {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := changes{make(map[string][]byte), make(map[string][]byte)}
	for name := range m.changedServices {
		c.services[name] = nil
		if r, ok := m.records[name]; ok {
			c.services[name], _ = json.Marshal(r) // cannot fail
		}
	}
	for id := range m.changedIncidents {
		c.incidents[id] = nil
		if in, ok := m.incidents[id]; ok {
			c.incidents[id], _ = json.Marshal(in) // cannot fail
		}
	}
	clear(m.changedServices)
	clear(m.changedIncidents)
	return c
}

func (m *Monitor) putBack(c changes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range c.services {
		m.changedServices[name] = true
	}
	for id := range c.incidents {
		m.changedIncidents[id] = true
	}
}

// tellSaved logs when it begins and ends that nothing can be saved, and what it is that keeps it from being.
func (m *Monitor) tellSaved(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := ""
	if err != nil {
		m.failed.Add(1)
		text = err.Error()
	}
	if text != m.unsaved && err != nil {
		m.cfg.Log.Error("history and incidents of the status page cannot be saved: a restart forgets what is new", "event", "history_unsaved", "error", err)
	} else if text != m.unsaved {
		m.cfg.Log.Info("history and incidents of the status page are saved again", "event", "history_saved")
	}
	m.unsaved = text
}

// close saves the rest and gives the file to others.
func (m *Monitor) close() {
	_ = m.save() // was logged
	m.saving.Lock()
	defer m.saving.Unlock()
	if m.store != nil {
		if err := m.store.close(); err != nil {
			m.cfg.Log.Warn("the file of the status page cannot be closed", "event", "history_unsaved", "error", err)
		}
		m.store = nil
	}
}

// maxFormer is how many services are remembered that the page does not have any more.
const maxFormer = 200

// formerServices are those, the longest gone first.
func (m *Monitor) formerServices() (former []string) {
	for name := range m.records {
		if !slices.Contains(m.names, name) {
			former = append(former, name)
		}
	}
	slices.SortFunc(former, func(a, b string) int { return m.records[a].Seen.Compare(m.records[b].Seen) })
	return former
}
