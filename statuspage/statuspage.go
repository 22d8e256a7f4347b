// Package statuspage is the public status page: services that an operator names, how they are now and were in the last
// 90 days, and what people write about incidents. Nothing that is not meant for the public gets into its types.
package statuspage

import "time"

// State is how a service is.
type State string

// The states, the best first.
const (
	Up       State = "up"
	Degraded State = "degraded"
	Down     State = "down"
	// Unknown is a service that nobody could judge.
	Unknown State = "unknown"
)

// View is all that the page shows. Pages, feeds and JSON are made of it alone.
type View struct {
	Title string `json:"title"`
	// URL is that of the page, for feeds; it may be empty.
	URL string `json:"url,omitempty"`
	// Time is when it was made.
	Time time.Time `json:"time"`
	// State is the worst of the services'.
	State    State     `json:"state"`
	Services []Service `json:"services"`
	// Incidents are those that last, and those of the last 14 days, the newest first; among them maintenance that is
	// completed. What has an End is over. Maintenance is that ahead or under way, the next first.
	Incidents   []Incident `json:"incidents"`
	Maintenance []Incident `json:"maintenance"`
}

// Service is a service as the public sees it.
type Service struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Group       string `json:"group,omitempty"`
	State       State  `json:"state"`
	// Since is when that began.
	Since time.Time `json:"since,omitzero"`
	// Days are the last 90, the oldest first.
	Days []Day `json:"days"`
	// Uptime is the share of the time of these days in which it was known and not down, from 0 to 1; absent if nothing is known.
	Uptime *float64 `json:"uptime,omitempty"`
}

// Day is a day in UTC.
type Day struct {
	Date string `json:"date"` // 2006-01-02
	// State is the worst that lasted for a minute; Unknown if nothing is known of the day.
	State State `json:"state"`
	// Down and Degraded are seconds.
	Down     float64 `json:"down,omitempty"`
	Degraded float64 `json:"degraded,omitempty"`
}

// Incident is what people wrote.
type Incident struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Services []string  `json:"services,omitempty"`
	State    string    `json:"state"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end,omitzero"`
	Updates  []Update  `json:"updates"`
}

// Update is one text of an incident, the newest first.
type Update struct {
	Time  time.Time `json:"time"`
	State string    `json:"state"`
	Text  string    `json:"text"`
}
