package statuspage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/admin/api"
)

func TestIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{Settings: parsed(t, threeServices), Log: quiet})
		opened, err := m.Open(Draft{Title: " Logins are slow ", Text: "We look into it.\nMore soon.", Services: []string{"b", "a", "b"}})
		in := opened.Incident
		if err != nil || in.Title != "Logins are slow" || in.State != api.IncidentInvestigating || fmt.Sprint(in.Services) != "[a b]" || !incidentID.MatchString(in.ID) || opened.Unsaved == "" {
			t.Fatalf("%+v, %v", opened, err)
		}
		time.Sleep(time.Minute)
		for _, step := range []struct {
			state, want string
			err         error
		}{{"identified", "identified", nil}, {"", "identified", nil}, {"resolved", "", ErrInvalid}, {"scheduled", "", ErrInvalid}, {"monitoring", "monitoring", nil}} {
			done, err := m.Update(in.ID, "More.", step.state)
			if !errors.Is(err, step.err) || err == nil && done.Incident.State != step.want {
				t.Errorf("to %q: %+v, %v", step.state, done.Incident, err)
			}
		}
		time.Sleep(time.Minute)
		closedAt := time.Now()
		closed, err := m.Close(in.ID, "It is over.")
		if err != nil || closed.Incident.State != api.IncidentResolved || !closed.Incident.End.Equal(closedAt) || len(closed.Incident.Updates) != 5 || closed.Incident.Updates[0].Text != "It is over." {
			t.Errorf("%+v, %v", closed, err)
		}
		time.Sleep(time.Minute)
		if again, err := m.Close(in.ID, "Again."); !errors.Is(err, ErrClosed) || again.Incident.ID != in.ID || !strings.Contains(err.Error(), "since 2000-01-01 00:02 UTC") {
			t.Errorf("closed twice: %v", err)
		}
		if _, err := m.Update(in.ID, "It is back.", "investigating"); !errors.Is(err, ErrClosed) {
			t.Errorf("opened again: %v", err)
		}
		late, err := m.Update(in.ID, "What it was.", "")
		if err != nil || late.Incident.State != api.IncidentResolved || !late.Incident.End.Equal(closedAt) {
			t.Errorf("a text after the end: %+v, %v", late, err)
		}
		if _, err := m.Update("2026-01-01-none", "x", ""); !errors.Is(err, ErrNoIncident) || !strings.Contains(err.Error(), "none lasts now") {
			t.Errorf("an id that is not there: %v", err)
		}
		if len(m.View().Incidents) != 1 || len(m.Incidents()) != 1 {
			t.Error("it is not shown any more")
		}
		time.Sleep(shownIncidents)
		m.look(time.Now())
		if len(m.View().Incidents) != 0 || len(m.Incidents()) != 1 {
			t.Error("after two weeks it is shown, or forgotten")
		}
		time.Sleep(keptIncidents)
		m.look(time.Now())
		if len(m.Incidents()) != 0 {
			t.Error("it is kept for ever")
		}
	})
}

// Who writes at a Relay whose clock is behind has read what is there: the text is the newest one.
func TestClockBehind(t *testing.T) {
	t.Parallel()
	in, err := newIncident(Draft{Title: "Title", Text: "Text"}, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	in, err = in.updated("It is found.", api.IncidentIdentified, false, noon.Add(-time.Hour))
	if err != nil || in.state(noon) != api.IncidentIdentified || !in.Updates[1].Time.After(noon) {
		t.Errorf("%+v, %v", in, err)
	}
	if merged := in.merged(in); merged.state(noon) != api.IncidentIdentified {
		t.Errorf("%+v", merged)
	}
}

func TestMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{Settings: parsed(t, threeServices), Log: quiet})
		announce := func(begin, length time.Duration) string {
			done, err := m.Open(Draft{Title: "New database", Text: "Short breaks.", Maintenance: true, Begin: time.Now().Add(begin), End: time.Now().Add(begin + length)})
			if err != nil {
				t.Fatal(err)
			}
			return done.Incident.ID
		}
		later, soon, never := announce(48*time.Hour, time.Hour), announce(time.Hour, 2*time.Hour), announce(5*time.Hour, time.Hour)
		view := m.View()
		if len(view.Maintenance) != 3 || view.Maintenance[0].ID != soon || view.Maintenance[2].ID != later || view.Maintenance[0].State != api.MaintenanceScheduled || len(view.Incidents) != 0 {
			t.Errorf("%+v", view.Maintenance)
		}
		if _, err := m.Update(soon, "Delayed.", "monitoring"); !errors.Is(err, ErrInvalid) {
			t.Errorf("a state for maintenance: %v", err)
		}
		time.Sleep(90 * time.Minute)
		m.look(time.Now())
		if got := m.View().Maintenance[0]; got.State != api.MaintenanceUnderWay {
			t.Errorf("%+v", got)
		}
		if done, err := m.Close(never, "It is not needed."); err != nil || done.Incident.State != api.MaintenanceCompleted || done.Incident.End.After(time.Now()) {
			t.Errorf("%+v, %v", done, err)
		}
		time.Sleep(2 * time.Hour)
		m.look(time.Now())
		if view := m.View(); len(view.Maintenance) != 1 || len(view.Incidents) != 2 || view.Incidents[1].State != api.MaintenanceCompleted {
			t.Errorf("%+v", view)
		}
		if _, err := m.Close(soon, "Over."); !errors.Is(err, ErrClosed) {
			t.Errorf("what is over is closed: %v", err)
		}
	})
}

func TestInvalidIncidents(t *testing.T) {
	t.Parallel()
	m := New(Config{Settings: parsed(t, threeServices), Log: quiet})
	good := Draft{Title: "Title", Text: "Text"}
	for want, change := range map[string]func(*Draft){
		"title: it is empty":                  func(d *Draft) { d.Title = " " },
		"title: want one line":                func(d *Draft) { d.Title = "a\nb" },
		"title: it has 121 characters":        func(d *Draft) { d.Title = strings.Repeat("ü", 121) },
		"text: it has 2001 characters":        func(d *Draft) { d.Text = strings.Repeat("ü", 2001) },
		"text: it is empty":                   func(d *Draft) { d.Text = "\n \t" },
		"text: the character U+001B":          func(d *Draft) { d.Text = "a\x1b[31m" },
		"text: the character U+202E":          func(d *Draft) { d.Text = "a\u202eb" },
		"text: the character U+000D":          func(d *Draft) { d.Text = "a\rb" },
		"text: it is no text in UTF-8":        func(d *Draft) { d.Text = "a\xff" },
		`the page has no "z": it has a, b, c`: func(d *Draft) { d.Services = []string{"a", "z"} },
		"state: want investigating":           func(d *Draft) { d.State = "resolved" },
		"end: want a time after the begin":    func(d *Draft) { d.Maintenance = true },
		"begin: want a time within a year": func(d *Draft) {
			d.Maintenance, d.Begin, d.End = true, moment(t, "0000-01-01T00:00:00+23:00"), time.Now().Add(time.Hour)
		},
		"state: that of maintenance": func(d *Draft) { d.Maintenance, d.State, d.End = true, "monitoring", time.Now().Add(time.Hour) },
	} {
		d := good
		change(&d)
		if _, err := m.Open(d); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for i := range maxLasting {
		if _, err := m.Open(good); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := m.Open(good); !errors.Is(err, ErrTooMany) {
		t.Errorf("without end: %v", err)
	}
	id := m.Incidents()[0].ID
	for i := range maxUpdates - 1 {
		if _, err := m.Update(id, "Text", ""); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := m.Update(id, "Text", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("texts without end: %v", err)
	}
	if _, err := m.Close(id, "Over."); err != nil {
		t.Errorf("it cannot be closed: %v", err)
	}
	if len(m.View().Incidents) != maxLasting {
		t.Errorf("%d are shown", len(m.View().Incidents))
	}
}

// Two people at once: each gets what was said, one closes, and nothing is lost.
func TestTwoPeopleAtOnce(t *testing.T) {
	t.Parallel()
	m := stored(t.TempDir())
	opened, err := m.Open(Draft{Title: "Title", Text: "Text"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	closed, refused := 0, 0
	for i := range 8 {
		all.Go(func() {
			for range 5 {
				if _, err := m.Update(opened.Incident.ID, fmt.Sprint("Of ", i), ""); err != nil {
					t.Error(err)
				}
			}
			_, err := m.Close(opened.Incident.ID, "Over.")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				closed++
			} else if errors.Is(err, ErrClosed) {
				refused++
			}
		})
	}
	all.Wait()
	in := m.Incidents()[0]
	if closed != 1 || refused != 7 || len(in.Updates) != 42 || in.State != api.IncidentResolved {
		t.Errorf("closed by %d, refused to %d, %d texts, %s", closed, refused, len(in.Updates), in.State)
	}
	m.close()
}

// Relays that tell each other in any order, and often, know the same in the end; what one closed stays closed.
func TestMergedInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		now := noon
		var relays []*Monitor
		for range 2 + r.IntN(3) {
			relays = append(relays, New(Config{Settings: parsed(t, threeServices), Log: quiet}))
		}
		var ids []string
		wasClosed := make(map[string]bool)
		for range 40 {
			now = now.Add(time.Duration(r.IntN(3)-1) * time.Second) // clocks differ
			m := relays[r.IntN(len(relays))]
			switch r.IntN(5) {
			case 0:
				in, err := newIncident(Draft{Title: "Title", Text: "Text"}, m.names, now)
				if err != nil {
					t.Fatal(err)
				}
				m.put(in)
				ids = append(ids, in.ID)
			case 1, 2:
				if len(ids) == 0 {
					continue
				}
				if in, ok := m.incidents[ids[r.IntN(len(ids))]]; ok {
					state := incidentStates[r.IntN(3)]
					if changed, err := in.updated(fmt.Sprint("Text ", r.IntN(5)), state, r.IntN(4) == 0, now); err == nil {
						m.put(changed)
						_, over := changed.closed()
						wasClosed[in.ID] = wasClosed[in.ID] || over
					}
				}
			default:
				m.learn("other", relays[r.IntN(len(relays))].Incidents())
			}
		}
		for range len(relays) {
			for _, m := range relays {
				m.learn("other", relays[r.IntN(len(relays))].Incidents())
			}
		}
		for range 2 { // all of all
			for _, m := range relays {
				for _, other := range relays {
					m.learn("other", other.Incidents())
				}
			}
		}
		for _, m := range relays {
			if !reflect.DeepEqual(m.incidents, relays[0].incidents) || len(m.incidents) != len(ids) {
				t.Fatalf("seed %d: %d incidents, want %d, the same everywhere\n%+v\n%+v", seed, len(m.incidents), len(ids), m.incidents, relays[0].incidents)
			}
			for id, over := range wasClosed {
				if _, got := m.incidents[id].closed(); got != over {
					t.Fatalf("seed %d: %s was closed: %t, and now: %t", seed, id, over, got)
				}
			}
		}
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// What another place says is published only if it could have been written here.
func TestHostileIncidents(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := func() api.Incident {
		return api.Incident{ID: "2026-11-30-abc", Title: "Title", Begin: now, Updates: []api.IncidentUpdate{{Time: now, State: "investigating", Text: "Text"}}}
	}
	m := New(Config{Settings: parsed(t, threeServices), Log: quiet})
	for name, change := range map[string]func(*api.Incident){
		"path in the id":    func(a *api.Incident) { a.ID = "../index" },
		"no id":             func(a *api.Incident) { a.ID = "" },
		"control character": func(a *api.Incident) { a.Title = "a\x00b" },
		"long title":        func(a *api.Incident) { a.Title = strings.Repeat("x", 1000) },
		"no text":           func(a *api.Incident) { a.Updates = nil },
		"long text":         func(a *api.Incident) { a.Updates[0].Text = strings.Repeat("x", 10_000) },
		"odd state":         func(a *api.Incident) { a.Updates[0].State = "<b>" },
		"many texts":        func(a *api.Incident) { a.Updates = make([]api.IncidentUpdate, 500) },
		"tomorrow":          func(a *api.Incident) { a.Updates[0].Time = now.Add(48 * time.Hour) },
		"no time":           func(a *api.Incident) { a.Updates[0].Time = time.Time{} },
		"no begin":          func(a *api.Incident) { a.Begin = time.Time{} },
		"no end":            func(a *api.Incident) { a.Maintenance = true; a.Updates[0].State = "scheduled" },
		"odd service":       func(a *api.Incident) { a.Services = []string{"a\nb"} },
		"year -1":           func(a *api.Incident) { a.Begin = moment(t, "0000-01-01T00:00:00+23:00") },
		"text of year -1":   func(a *api.Incident) { a.Updates[0].Time = moment(t, "0000-01-01T00:00:00+23:00") },
		"ends in year 10000": func(a *api.Incident) {
			a.Maintenance, a.AnnouncedEnd, a.Updates[0].State = true, moment(t, "9999-12-31T23:59:59-23:00"), "scheduled"
		},
	} {
		a := good()
		change(&a)
		m.learn("hostile", []api.Incident{a})
		if len(m.incidents) != 0 {
			t.Errorf("%s: %+v", name, m.incidents)
			clear(m.incidents)
		}
	}
	a := good()
	a.Services = []string{"a", "elsewhere"}
	m.learn("other", []api.Incident{a})
	if in := m.View().Incidents; len(in) != 1 || fmt.Sprint(in[0].Services) != "[a]" {
		t.Errorf("%+v", in)
	}
	var many []api.Incident
	for i := range 2 * maxIncidents {
		a := good()
		a.ID, a.Updates[0].Text = fmt.Sprint("many-", i), strings.Repeat("ü", maxText)
		for range maxUpdates - 1 {
			u := a.Updates[0]
			u.Time = u.Time.Add(time.Duration(len(a.Updates)) * time.Second)
			a.Updates = append(a.Updates, u)
		}
		many = append(many, a)
	}
	m.learn("hostile", many)
	size := 0
	for _, in := range m.incidents {
		size += in.size()
	}
	if size > maxTexts || len(m.incidents) > maxIncidents {
		t.Errorf("%d incidents with %d bytes", len(m.incidents), size)
	}
	clear(m.incidents)
	for i := range many {
		many[i].Updates = many[i].Updates[:1]
	}
	m.learn("hostile", many)
	m.learn("hostile", many[maxLasting:])
	if got := len(m.View().Incidents); got != maxLasting {
		t.Errorf("a place filled the page with %d incidents that last", got)
	}
}
