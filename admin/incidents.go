package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"relay/admin/api"
	"relay/internal/panics"
)

// Incidents are what people write on the public status page.
type Incidents interface {
	// Incidents are all that are kept, the newest first.
	Incidents() []api.Incident
	// Change publishes something. Its answer has an Error unless the outcome is IncidentMade.
	Change(r IncidentRequest) (api.IncidentChange, IncidentOutcome)
}

// IncidentAction is what people do with incidents.
type IncidentAction string

// The actions.
const (
	OpenIncident        IncidentAction = "open"
	AnnounceMaintenance IncidentAction = "maintenance"
	UpdateIncident      IncidentAction = "update"
	CloseIncident       IncidentAction = "close"
)

// IncidentRequest is what people ask for. ID is that of the incident to update or to close; Title, Services, Begin and End
// are those of a new one.
type IncidentRequest struct {
	Action                 IncidentAction
	ID, Title, Text, State string
	Services               []string
	Begin, End             time.Time
}

// IncidentOutcome is what became of a change.
type IncidentOutcome int

// The outcomes.
const (
	IncidentMade IncidentOutcome = iota
	// IncidentUnknown is of an incident that is not there.
	IncidentUnknown
	// IncidentConflict is of one that is closed, or of too many.
	IncidentConflict
	// IncidentInvalid is of what cannot be published.
	IncidentInvalid
)

var incidentStatus = map[IncidentOutcome]int{
	IncidentMade: http.StatusOK, IncidentConflict: http.StatusConflict, IncidentInvalid: http.StatusUnprocessableEntity,
}

// The most characters that parameters of incidents take. What is too long for the page is said by who keeps it.
const (
	maxIncidentText     = 4096
	maxIncidentServices = 10_000
)

var (
	incidentTextParam     = parameter{Name: "text", Text: "What is published, in plain text.", Length: maxIncidentText, Required: true}
	incidentTitleParam    = parameter{Name: "title", Text: "The headline, which is published.", Required: true}
	incidentServicesParam = parameter{Name: "services", Text: "Names of services of the status page, with commas between them.", Length: maxIncidentServices}
	incidentStates        = []string{"", api.IncidentInvestigating, api.IncidentIdentified, api.IncidentMonitoring}
	incidentExample       = map[string]string{"id": "2026-11-30-k3v7q2xa"}
)

func (s *Server) incidentRoutes() []route {
	post := func(action IncidentAction, path, summary string, params ...parameter) route {
		r := route{Method: http.MethodPost, Path: "/api/v1/incidents/" + path, Summary: summary, Answer: api.IncidentChange{}, raw: s.changeIncident(action), Missing: true, Params: params}
		if strings.Contains(path, "{id}") {
			r.Examples = incidentExample
		}
		return r
	}
	return []route{
		{Path: "/api/v1/incidents", Summary: "The incidents and maintenance of the public status page", Answer: api.Incidents{}, get: s.incidents, Missing: true},
		post(OpenIncident, "open", "Publish an incident", incidentTitleParam, incidentTextParam, incidentServicesParam,
			parameter{Name: "state", Text: "Its state; investigating if it is empty.", Values: incidentStates}),
		post(AnnounceMaintenance, "maintenance", "Publish that there will be maintenance", incidentTitleParam, incidentTextParam, incidentServicesParam,
			parameter{Name: "begin", Text: "When it begins, such as 2026-11-30T22:00:00Z; now if it is empty."},
			parameter{Name: "end", Text: "When it ends.", Required: true}),
		post(UpdateIncident, "{id}/update", "Add a text to an incident", incidentTextParam,
			parameter{Name: "state", Text: "The state from now on; as before if it is empty.", Values: incidentStates}),
		post(CloseIncident, "{id}/close", "Close an incident, or end maintenance, with a last text", incidentTextParam),
	}
}

// noStatusPage is why there are no incidents.
const noStatusPage = "this Relay has no status page (--status-page-file), so there are no incidents"

// incidents answers /api/v1/incidents.
func (s *Server) incidents(*http.Request, query) (any, error) {
	if s.cfg.Incidents == nil {
		return nil, unknown(noStatusPage)
	}
	return api.Incidents{Incidents: orEmpty(s.cfg.Incidents.Incidents())}, nil
}

// changeIncident answers a POST. Who may read may publish, but not where everybody may read.
func (s *Server) changeIncident(action IncidentAction) func(http.ResponseWriter, *http.Request, query) {
	return func(w http.ResponseWriter, r *http.Request, q query) {
		if !s.cfg.Access.restricts() {
			s.json(w, http.StatusForbidden, api.Error{Error: changesNothing})
			return
		}
		if s.cfg.Incidents == nil {
			s.notFound(w, noStatusPage)
			return
		}
		asked := IncidentRequest{Action: action, ID: r.PathValue("id"), Title: q.values["title"], Text: q.values["text"], State: q.values["state"], Services: listed(q.values["services"])}
		var err error
		if asked.Begin, err = momentOf(q, "begin"); err == nil {
			asked.End, err = momentOf(q, "end")
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		var done api.IncidentChange
		outcome := IncidentInvalid
		err = panics.Catch(func() error {
			done, outcome = s.cfg.Incidents.Change(asked)
			return nil
		})
		if panics.Log(s.cfg.Log, err, "incident", asked.ID) {
			s.json(w, http.StatusInternalServerError, api.Error{Error: "Relay has a bug: see its log"})
			return
		}
		done.Error = redact(done.Error)
		if outcome == IncidentUnknown {
			s.notFound(w, done.Error)
			return
		}
		s.json(w, incidentStatus[outcome], done)
	}
}

// listed splits names at commas.
func listed(text string) (names []string) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func momentOf(q query, name string) (time.Time, error) {
	text := q.values[name]
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, badRequest(fmt.Sprintf("the parameter %s is %.40q: want a time such as 2026-11-30T22:00:00Z", name, text))
	}
	return at, nil
}
