package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// fakeIncidents are one that lasts, one that is over, and maintenance.
func fakeIncidents() api.Incidents {
	return api.Incidents{Incidents: []api.Incident{
		{
			ID: "2026-12-02-m4ksz2qa", Title: "New database", Services: []string{"Devices"}, Maintenance: true, State: api.MaintenanceScheduled,
			Begin: fakeNow.Add(48 * time.Hour), End: fakeNow.Add(50 * time.Hour), AnnouncedEnd: fakeNow.Add(50 * time.Hour),
			Updates: []api.IncidentUpdate{{Time: before(time.Hour), State: api.MaintenanceScheduled, Text: "Devices reconnect once."}},
		},
		{
			ID: "2026-11-30-k3v7q2xa", Title: "Logins are slow", Services: []string{"Devices", "Shop"}, State: api.IncidentIdentified, Begin: before(20 * time.Minute),
			Updates: []api.IncidentUpdate{
				{Time: before(5 * time.Minute), State: api.IncidentIdentified, Text: "A disk is full.\nIt gets more room."},
				{Time: before(20 * time.Minute), State: api.IncidentInvestigating, Text: "We look into it."},
			},
		},
		{
			ID: "2026-11-29-b2nw8rta", Title: "Shop away", State: api.IncidentResolved, Begin: before(26 * time.Hour), End: before(25 * time.Hour),
			Updates: []api.IncidentUpdate{{Time: before(25 * time.Hour), State: api.IncidentResolved, Text: "All is well again."}},
		},
	}}
}

// What people type becomes what the API takes.
func TestIncidentRequests(t *testing.T) {
	f := newFakeRelay(t)
	var posts []string
	refuse := false
	for _, path := range []string{"open", "maintenance", "2026-11-30-k3v7q2xa/update", "2026-11-30-k3v7q2xa/close"} {
		f.answers["incidents/"+path] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			posts = append(posts, r.Method+" "+path+"?"+r.URL.RawQuery)
			w.Header().Set("Content-Type", "application/json")
			done := api.IncidentChange{Incident: fakeIncidents().Incidents[1], Unsaved: "the disk is \x1bfull"}
			if refuse {
				done = api.IncidentChange{Error: "the incident is closed"}
				w.WriteHeader(http.StatusConflict)
			}
			_ = json.NewEncoder(w).Encode(done)
		})
	}
	for want, args := range map[string][]string{
		"POST open?services=Devices%2CShop&state=identified&text=A+disk.&title=Logins+are+slow": {"open", "Logins are slow", "-t", "A disk.", "--services", "Devices,Shop", "--state", "identified"},
		"POST open?text=x&title=y":                                                                    {"open", "y", "--text", "x"},
		"POST 2026-11-30-k3v7q2xa/update?text=a%0Ab":                                                  {"update", "2026-11-30-k3v7q2xa", "-t", "a\nb"},
		"POST 2026-11-30-k3v7q2xa/close?text=Over.":                                                   {"close", "2026-11-30-k3v7q2xa", "-t", "Over."},
		"POST maintenance?end=2026-11-30T13%3A30%3A00Z&text=x&title=y":                                {"maintenance", "y", "-t", "x", "--end", "90m"},
		"POST maintenance?begin=2026-12-01T22%3A00%3A00Z&end=2026-12-02T00%3A00%3A00Z&text=x&title=y": {"maintenance", "y", "-t", "x", "--begin", "2026-12-01 22:00", "--end", "2h"},
		"POST maintenance?begin=2026-12-01T21%3A00%3A00Z&end=2026-12-01T22%3A00%3A00Z&text=x&title=y": {"maintenance", "y", "-t", "x", "--begin", "2026-12-01T22:00:00+01:00", "--end", "2026-12-01 22:00"},
	} {
		posts = nil
		status, out, errs := command(t, append([]string{"incident"}, args...)...)
		if status != 0 || len(posts) != 1 || posts[0] != want {
			t.Errorf("%v: %d, %v, %s; want %s", args, status, posts, errs, want)
		}
		if !strings.Contains(out, "A disk is full. It gets") || !strings.Contains(errs, `restart of this Relay forgets it: the disk is \x1bfull`) {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
	refuse = true
	if status, _, errs := command(t, "incident", "close", "2026-11-30-k3v7q2xa", "-t", "Over."); status != statusWrong || !strings.Contains(errs, "the incident is closed") {
		t.Errorf("%d %s", status, errs)
	}
}

func TestIncidentMistakes(t *testing.T) {
	newFakeRelay(t)
	for want, args := range map[string][]string{
		"needs a headline":                      {"open", "-t", "x"},
		"needs --text":                          {"open", "y"},
		"needs --end":                           {"maintenance", "y", "-t", "x"},
		"needs an id":                           {"close", "-t", "x"},
		"--state is not for":                    {"close", "z", "-t", "x", "--state", "monitoring"},
		"--text is not for relay incident list": {"list", "-t", "x"},
		"--begin: \"tomorrow\" is no time":      {"maintenance", "y", "-t", "x", "--begin", "tomorrow", "--end", "2h"},
		"--end: \"late\" is no time":            {"maintenance", "y", "-t", "x", "--end", "late"},
		"must be one of":                        {"delete", "z"},
	} {
		if status, _, errs := command(t, append([]string{"incident"}, args...)...); status != statusUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: %d %s; want %s", args, status, errs, want)
		}
	}
	if status, _, errs := command(t, "incident", "list", "nothing"); status != statusWrong || !strings.Contains(errs, "there is no incident nothing") {
		t.Errorf("%d %s", status, errs)
	}
	if status, _, errs := command(t, "incident", "close", "nothing", "-t", "x"); status != statusWrong {
		t.Errorf("%d %s", status, errs)
	}
}
