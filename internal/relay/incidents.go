package relay

import (
	"errors"
	"strings"

	"relay/admin"
	"relay/admin/api"
	"relay/statuspage"
)

// incidentReports lets the admin endpoint show and change the incidents of the status page.
type incidentReports struct{ monitor *statuspage.Monitor }

var _ admin.Incidents = incidentReports{}

// Incidents implements admin.Incidents.
func (i incidentReports) Incidents() []api.Incident { return i.monitor.Incidents() }

// Change implements admin.Incidents.
func (i incidentReports) Change(r admin.IncidentRequest) (done api.IncidentChange, outcome admin.IncidentOutcome) {
	var err error
	switch r.Action {
	case admin.UpdateIncident:
		done, err = i.monitor.Update(r.ID, r.Text, r.State)
	case admin.CloseIncident:
		done, err = i.monitor.Close(r.ID, r.Text)
	default:
		done, err = i.monitor.Open(statuspage.Draft{
			Title: r.Title, Text: r.Text, State: r.State, Services: r.Services,
			Maintenance: r.Action == admin.AnnounceMaintenance, Begin: r.Begin, End: r.End,
		})
	}
	if err == nil {
		return done, admin.IncidentMade
	}
	done.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	return done, incidentOutcome(err)
}

func incidentOutcome(err error) admin.IncidentOutcome {
	switch {
	case errors.Is(err, statuspage.ErrNoIncident):
		return admin.IncidentUnknown
	case errors.Is(err, statuspage.ErrClosed), errors.Is(err, statuspage.ErrTooMany):
		return admin.IncidentConflict
	}
	return admin.IncidentInvalid
}
