package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// sampleDeployment is a group of which one app takes over from the other.
func sampleDeployment(now time.Time) api.Deployment {
	return api.Deployment{
		Group: "imp", To: "/imp-green", From: []string{"/imp-blue"}, Target: 3,
		Apps: []api.DeploymentApp{
			{ID: "/imp-blue", Version: "2026-11-01T10:00:00.000Z", Instances: 2, Draining: 2, Tasks: []api.DeploymentTask{
				{Task: "imp-blue.1", Address: "10.0.0.7:31001", Health: "draining", Connections: ptr(0)},
				{Task: "imp-blue.2", Address: "10.0.0.8:31001", Health: "draining", Waiting: "Envoys have yet to report its connections"},
			}},
			{ID: "/imp-green", Instances: 3, Healthy: 3, Out: 1, Tasks: []api.DeploymentTask{{Task: "imp-green.1", Address: "10.0.0.7:31002", Health: "healthy", Connections: ptr(1588)}}},
		},
		Next:   []api.DeploymentChange{{App: "/imp-blue", From: 2, To: 1, Kill: []string{"imp-blue.1"}, Why: "/imp-green took over, and no connection is left"}},
		Events: []api.DeploymentEvent{{Time: now, Kind: "advance", Text: "people have /imp-green take over from /imp-blue"}},
	}
}

// What is left on each instance is told apart from what is not known.
func TestDeploymentPage(t *testing.T) {
	t.Parallel()
	data := wellData()
	data.deployments = []api.Deployment{sampleDeployment(time.Now())}
	data.story.Deployment = "imp"
	mux := http.NewServeMux()
	New(data, "", nil).Register(mux)
	page := func(path string) string {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		return w.Body.String()
	}
	for path, texts := range map[string][]string{
		"/deployments": {`<a href="/deployments/imp">`, "under way"},
		"/deployments/imp": {
			`class="num">0</td>`, `<span class="dim">–</span>`, "Envoys have yet to report", "2 wanted, 0 take new connections, 2 drain", "3 take new connections, 0 drain, 1 not in rotation",
			"1 in place of 2", "people have /imp-green take over",
		},
		"/apps/team-0/web": {`of the deployment group <a href="/deployments/imp">`},
	} {
		body := page(path)
		for _, text := range texts {
			if !strings.Contains(strings.ToLower(body), strings.ToLower(text)) {
				t.Errorf("%s lacks %q", path, text)
			}
		}
	}
}
