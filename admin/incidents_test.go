package admin

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/secret"
)

// fakeIncidents has one incident, and notes the changes that it is asked for.
type fakeIncidents struct {
	outcome IncidentOutcome
	asked   []IncidentRequest
	panics  bool
}

func (f *fakeIncidents) Incidents() []api.Incident { return []api.Incident{{ID: "2026-11-30-abc"}} }

func (f *fakeIncidents) Change(r IncidentRequest) (api.IncidentChange, IncidentOutcome) {
	f.asked = append(f.asked, r)
	if f.panics {
		panic("a bug")
	}
	done := api.IncidentChange{Incident: api.Incident{ID: "2026-11-30-abc"}}
	if f.outcome != IncidentMade {
		done.Error = "not so"
	}
	return done, f.outcome
}

// Incidents are published by POST, by who may use the endpoint, where not everybody may, and by no page of another site.
func TestWhoMayPublish(t *testing.T) {
	t.Parallel()
	token := func() secret.String { return "s3cret-token" }
	local, guarded := Access{ThisMachine: true}, Access{Token: token}
	const at = "http://127.0.0.1:9090/api/v1/incidents/"
	const open, update = at + "open?title=A&text=B", at + "2026-11-30-abc/update?text=B"
	asked := IncidentRequest{Action: OpenIncident, Title: "A", Text: "B"}
	ten := time.Date(2026, 11, 30, 22, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, method, url string
		access            Access
		headers           []string
		status            int
		want              IncidentRequest
	}{
		{"this machine", "POST", open, local, nil, 200, asked},
		{"all of it", "POST", open + "&services=a,%20b%20c,&state=monitoring", local, nil, 200, IncidentRequest{Action: OpenIncident, Title: "A", Text: "B", State: "monitoring", Services: []string{"a", "b c"}}},
		{"maintenance", "POST", at + "maintenance?title=A&text=B&begin=2026-11-30T22:00:00Z&end=2026-12-01T00:00:00%2B01:00", local, nil, 200, IncidentRequest{Action: AnnounceMaintenance, Title: "A", Text: "B", Begin: ten, End: ten.Add(time.Hour)}},
		{"update", "POST", update + "%0Ac&state=identified", local, nil, 200, IncidentRequest{Action: UpdateIncident, ID: "2026-11-30-abc", Text: "B\nc", State: "identified"}},
		{"close", "POST", at + "2026-11-30-abc/close?text=B", guarded, []string{"Authorization: Bearer s3cret-token"}, 200, IncidentRequest{Action: CloseIncident, ID: "2026-11-30-abc", Text: "B"}},
		{"no token", "POST", open, guarded, nil, 401, IncidentRequest{}},
		{"wrong token", "POST", update, guarded, []string{"Authorization: Bearer guess"}, 401, IncidentRequest{}},
		{"no certificate", "POST", open, Access{ClientCertificates: true, VerifyAgain: func([][]*x509.Certificate) error { return nil }}, nil, 403, IncidentRequest{}},
		{"everybody may read", "POST", open, Access{}, nil, 403, IncidentRequest{}},
		{"only hooks are restricted", "POST", update, Access{HookNetworks: local.HookNetworks}, nil, 403, IncidentRequest{}},
		{"page of another site", "POST", open, local, []string{"Sec-Fetch-Site: cross-site"}, 403, IncidentRequest{}},
		{"form of an older browser", "POST", update, local, []string{"Origin: https://evil.test"}, 403, IncidentRequest{}},
		{"DNS rebinding", "POST", "http://evil.test:9090/api/v1/incidents/open?title=A&text=B", local, nil, 403, IncidentRequest{}},
		{"image", "GET", open, local, nil, 405, IncidentRequest{}},
		{"no title", "POST", at + "open?text=B", local, nil, 400, IncidentRequest{}},
		{"no text", "POST", at + "open?title=A&text=%20", local, nil, 400, IncidentRequest{}},
		{"odd state", "POST", open + "&state=resolved", local, nil, 400, IncidentRequest{}},
		{"no time", "POST", at + "maintenance?title=A&text=B&end=soon", local, nil, 400, IncidentRequest{}},
		{"long text", "POST", open + strings.Repeat("x", 5000), local, nil, 400, IncidentRequest{}},
		{"what is no parameter", "POST", open + "&html=1", local, nil, 400, IncidentRequest{}},
	} {
		incidents := &fakeIncidents{}
		config := newConfig(fakeViews{})
		config.Incidents, config.Access = incidents, tt.access
		w := requested(config, tt.method, tt.url, tt.headers)
		var got IncidentRequest
		if len(incidents.asked) > 0 {
			got = incidents.asked[0]
			got.Begin, got.End = got.Begin.UTC(), got.End.UTC()
		}
		if w.Code != tt.status || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: status %d, want %d; asked for %+v: %s", tt.name, w.Code, tt.status, incidents.asked, w.Body)
		}
	}
}

func TestIncidentOutcomes(t *testing.T) {
	t.Parallel()
	post := func(incidents Incidents) *httptest.ResponseRecorder {
		config := newConfig(fakeViews{})
		config.Incidents, config.Access = incidents, Access{ThisMachine: true}
		w := httptest.NewRecorder()
		New(config, nil).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/api/v1/incidents/x/close?text=Over", nil))
		return w
	}
	for outcome, status := range map[IncidentOutcome]int{IncidentMade: 200, IncidentUnknown: 404, IncidentConflict: 409, IncidentInvalid: 422} {
		if w := post(&fakeIncidents{outcome: outcome}); w.Code != status || (outcome != IncidentMade) != strings.Contains(w.Body.String(), "not so") {
			t.Errorf("%d: %d %s", outcome, w.Code, w.Body)
		}
	}
	if w := post(&fakeIncidents{panics: true}); w.Code != 500 || !strings.Contains(w.Body.String(), "bug") {
		t.Errorf("a bug: %d %s", w.Code, w.Body)
	}
	if w := post(nil); w.Code != 404 || !strings.Contains(w.Body.String(), "no status page") {
		t.Errorf("without a status page: %d %s", w.Code, w.Body)
	}
	config := newConfig(fakeViews{})
	for want, incidents := range map[string]Incidents{`"2026-11-30-abc"`: &fakeIncidents{}, "no status page": nil} {
		config.Incidents = incidents
		w := httptest.NewRecorder()
		New(config, nil).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/v1/incidents", nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}
