package statuspage

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
)

// The limits of incidents. All of it is in each page and in the answer of each Relay.
const (
	maxTitle   = 120
	maxText    = 2000
	maxUpdates = 100
	// maxLasting is how many may last at the same time, and maxIncidents how many are kept in all.
	maxLasting   = 50
	maxIncidents = 500
	// maxTexts bounds all texts together, in bytes.
	maxTexts = 4 << 20
	// keptIncidents is how long one is kept after its end, shownIncidents how long it is shown.
	keptIncidents  = 90 * 24 * time.Hour
	shownIncidents = 14 * 24 * time.Hour
	// maxAhead is how far ahead maintenance may be announced, and maxSkew how far ahead the clock of another Relay may be.
	maxAhead = 366 * 24 * time.Hour
	maxSkew  = 24 * time.Hour
)

// What keeps a change of an incident from being made. All are wrapped with what to do.
var (
	ErrNoIncident = errors.New("there is no such incident")
	ErrClosed     = errors.New("the incident is closed")
	ErrInvalid    = errors.New("that cannot be published")
	ErrTooMany    = errors.New("there are too many")
)

// incident is what is kept of one. How it goes on is in its updates alone, the oldest first: these are only ever added to, so
// that what two Relays know can be put together in any order.
type incident struct {
	ID          string    `json:"id"`
	Title       string    `json:"title"`
	Services    []string  `json:"services,omitempty"`
	Maintenance bool      `json:"maintenance,omitempty"`
	Begin       time.Time `json:"begin"`
	// End is the announced one of maintenance.
	End     time.Time `json:"end,omitzero"`
	Updates []Update  `json:"updates"`
}

// Draft is what people write to open an incident or to announce maintenance.
type Draft struct {
	Title, Text string
	// State is that of an incident; investigating if it is empty.
	State    string
	Services []string
	// Maintenance asks for Begin, which is now if it is zero, and End.
	Maintenance bool
	Begin, End  time.Time
}

// incidentStates are those that people may give to one that lasts.
var incidentStates = []string{api.IncidentInvestigating, api.IncidentIdentified, api.IncidentMonitoring}

// newIncident checks a draft and makes an incident of it.
func newIncident(d Draft, services []string, now time.Time) (incident, error) {
	now = now.UTC().Truncate(time.Millisecond)
	state := cmp.Or(d.State, api.IncidentInvestigating)
	in := incident{Title: strings.TrimSpace(d.Title), Services: slices.Compact(slices.Sorted(slices.Values(d.Services))), Maintenance: d.Maintenance, Begin: now}
	var errs []error
	switch {
	case d.Maintenance:
		state = api.MaintenanceScheduled
		if !d.Begin.IsZero() {
			in.Begin = d.Begin.UTC().Truncate(time.Second)
		}
		in.End = d.End.UTC().Truncate(time.Second)
		if d.State != "" {
			errs = append(errs, errors.New("state: that of maintenance is told by its times"))
		}
		if !in.End.After(in.Begin) || !in.End.After(now) || in.End.Sub(now) > maxAhead {
			errs = append(errs, errors.New("end: want a time after the begin, after now and within a year"))
		}
		if now.Sub(in.Begin) > maxAhead {
			errs = append(errs, errors.New("begin: want a time within a year"))
		}
	case !slices.Contains(incidentStates, state):
		errs = append(errs, fmt.Errorf("state: want %s", strings.Join(incidentStates, ", ")))
	}
	for _, name := range in.Services {
		if !slices.Contains(services, name) {
			errs = append(errs, fmt.Errorf("services: the page has no %.100q: it has %s", name, strings.Join(services, ", ")))
		}
	}
	text := strings.TrimSpace(d.Text)
	errs = append(errs, plainText("title", in.Title, maxTitle), publicText("text", text, maxText))
	if err := errors.Join(errs...); err != nil {
		return in, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	in.ID = now.Format(dateForm) + "-" + strings.ToLower(rand.Text()[:8])
	in.Updates = []Update{{Time: now, State: state, Text: text}}
	return in, nil
}

// updated returns an incident with one more text. With close it ends; state is as before if it is empty.
func (in incident) updated(text, state string, close bool, now time.Time) (incident, error) {
	text = strings.TrimSpace(text)
	last := in.state(now)
	switch {
	case !in.lasts(now) && (close || state != "" && state != last):
		return in, fmt.Errorf("%w since %s: texts can be added still; open another one if it is back", ErrClosed, in.end().UTC().Format("2006-01-02 15:04 UTC"))
	case close && in.Maintenance:
		state = api.MaintenanceCompleted
	case close:
		state = api.IncidentResolved
	case state == "":
		state = last
	case in.Maintenance:
		return in, fmt.Errorf("%w: state: that of maintenance is told by its times: close it when it is over", ErrInvalid)
	case !slices.Contains(incidentStates, state):
		return in, fmt.Errorf("%w: state: want %s; to end it, close it", ErrInvalid, strings.Join(incidentStates, ", "))
	}
	if err := publicText("text", text, maxText); err != nil {
		return in, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(in.Updates) >= maxUpdates && !close {
		return in, fmt.Errorf("%w texts: an incident has at most %d", ErrTooMany, maxUpdates)
	}
	now = now.UTC().Truncate(time.Millisecond)
	// Who writes has read what is there, whatever the clocks of two Relays say.
	if newest := in.Updates[len(in.Updates)-1].Time; !now.After(newest) {
		now = newest.Add(time.Millisecond)
	}
	in.Updates = append(slices.Clone(in.Updates), Update{Time: now, State: state, Text: text})
	return in, nil
}

// closed is when somebody closed it. That is final: what another Relay was told at the same time opens it no more.
func (in incident) closed() (time.Time, bool) {
	for _, u := range in.Updates {
		if u.State == api.IncidentResolved || u.State == api.MaintenanceCompleted {
			return u.Time, true
		}
	}
	return time.Time{}, false
}

// state is that of now. Maintenance begins and ends when it was announced.
func (in incident) state(now time.Time) string {
	_, closed := in.closed()
	switch {
	case in.Maintenance && (closed || !now.Before(in.End)):
		return api.MaintenanceCompleted
	case in.Maintenance && !now.Before(in.Begin):
		return api.MaintenanceUnderWay
	case in.Maintenance:
		return api.MaintenanceScheduled
	case closed:
		return api.IncidentResolved
	}
	return in.Updates[len(in.Updates)-1].State
}

// end is when it ended, or will, as maintenance does; zero while it lasts.
func (in incident) end() time.Time {
	if at, closed := in.closed(); closed && (!in.Maintenance || at.Before(in.End)) {
		return at
	}
	return in.End
}

// lasts reports whether it is not over, or not even begun. One that was closed is over, whatever the clock says: who closed it may
// have another one.
func (in incident) lasts(now time.Time) bool {
	_, closed := in.closed()
	return !closed && (!in.Maintenance || now.Before(in.End))
}

// merged puts together what two Relays know of an incident: all texts of both. Whoever calls it with whom, and how often, finds
// the same.
func (in incident) merged(other incident) incident {
	out := in
	if other.head() > in.head() { // they are the same, but for a mistake
		out = other
	}
	updates := slices.Concat(in.Updates, other.Updates)
	slices.SortFunc(updates, compareUpdates)
	updates = slices.CompactFunc(updates, func(a, b Update) bool { return compareUpdates(a, b) == 0 })
	if n := len(updates); n > maxUpdates+1 { // how it began, and the end of it, are what counts
		updates = append(updates[:1:1], updates[n-maxUpdates:]...)
	}
	out.Updates = updates
	return out
}

func (in incident) head() string {
	return fmt.Sprintf("%s|%q|%q|%t|%d|%d", in.ID, in.Title, in.Services, in.Maintenance, in.Begin.UnixMilli(), in.End.UnixMilli())
}

// size is how much of maxTexts it takes.
func (in incident) size() int {
	n := len(in.Title)
	for _, name := range in.Services {
		n += len(name)
	}
	for _, u := range in.Updates {
		n += len(u.Text)
	}
	return n
}

func (in incident) equal(other incident) bool {
	return in.head() == other.head() && slices.EqualFunc(in.Updates, other.Updates, func(a, b Update) bool { return compareUpdates(a, b) == 0 })
}

func compareUpdates(a, b Update) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.State, b.State), cmp.Compare(a.Text, b.Text))
}

var incidentID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// fromAPI is what another Relay says of an incident.
func fromAPI(a api.Incident) incident {
	in := incident{ID: a.ID, Title: a.Title, Services: a.Services, Maintenance: a.Maintenance, Begin: a.Begin.UTC()}
	if a.Maintenance {
		in.End = a.AnnouncedEnd.UTC()
	}
	for _, u := range a.Updates {
		in.Updates = append(in.Updates, Update{Time: u.Time.UTC(), State: u.State, Text: u.Text})
	}
	slices.SortStableFunc(in.Updates, compareUpdates)
	return in
}

// foreign says what is wrong with what another Relay says: it is shown to the public as if it were written here, so it is
// checked alike.
func (in incident) foreign(now time.Time) error {
	for _, u := range in.Updates {
		if u.Time.Sub(now) > maxSkew {
			return errors.New("it has a text of tomorrow")
		}
	}
	if in.Begin.Sub(now) > maxAhead || in.End.Sub(now) > maxAhead+maxSkew {
		return errors.New("it begins or ends too far ahead")
	}
	return in.sound(in.ID)
}

// sound implements entry.
func (in incident) sound(key string) error {
	var errs []error
	if !incidentID.MatchString(in.ID) || key != in.ID {
		errs = append(errs, errors.New("id: want small letters, digits and -"))
	}
	if len(in.Updates) == 0 || len(in.Updates) > maxUpdates+1 || len(in.Services) > maxServices {
		errs = append(errs, errors.New("it has no text, or too many"))
	}
	if !writable(in.Begin) || in.Maintenance != in.End.After(in.Begin) || in.Maintenance && !writable(in.End) {
		errs = append(errs, errors.New("its times cannot be"))
	}
	errs = append(errs, plainText("title", in.Title, maxTitle))
	for _, name := range in.Services {
		errs = append(errs, plainText("services", name, maxName))
	}
	for _, u := range in.Updates {
		if !slices.Contains(allStates(in.Maintenance), u.State) || !writable(u.Time) {
			errs = append(errs, errors.New("a state or time of a text cannot be"))
		}
		errs = append(errs, publicText("text", u.Text, maxText))
	}
	return errors.Join(errs...)
}

// writable reports whether a time can be: JSON has years from 0 to 9999 only, and no page is made of what it cannot say.
func writable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1970 && year <= 9999
}

func allStates(maintenance bool) []string {
	if maintenance {
		return []string{api.MaintenanceScheduled, api.MaintenanceUnderWay, api.MaintenanceCompleted}
	}
	return append(slices.Clone(incidentStates), api.IncidentResolved)
}

// api is the incident as the API shows it.
func (in incident) api(now time.Time) api.Incident {
	a := api.Incident{ID: in.ID, Title: in.Title, Services: in.Services, Maintenance: in.Maintenance, State: in.state(now), Begin: in.Begin, End: in.end(), AnnouncedEnd: in.End}
	for _, u := range slices.Backward(in.Updates) {
		a.Updates = append(a.Updates, api.IncidentUpdate(u))
	}
	return a
}

// public is the incident as the page shows it, with those services that the page has.
func (in incident) public(services []string, now time.Time) Incident {
	shown := Incident{ID: in.ID, Title: in.Title, State: in.state(now), Begin: in.Begin, End: in.end(), Updates: slices.Clone(in.Updates)}
	for _, name := range in.Services {
		if slices.Contains(services, name) {
			shown.Services = append(shown.Services, name)
		}
	}
	slices.Reverse(shown.Updates)
	return shown
}

func newestFirst(a, b time.Time, idA, idB string) int {
	return cmp.Or(b.Compare(a), cmp.Compare(idB, idA))
}

// compareIncidents orders by when they begin.
func compareIncidents(a, b Incident) int { return newestFirst(b.Begin, a.Begin, b.ID, a.ID) }
