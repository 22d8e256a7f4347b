package admin

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"relay/admin/api"
	"relay/internal/secret"
)

// fakeDeployments has one group, and notes the steps that it is asked for.
type fakeDeployments struct {
	outcome StepOutcome
	asked   []DeploymentRequest
	panics  bool
}

func (f *fakeDeployments) Groups() []string { return []string{"imp", "shop/web"} }

func (f *fakeDeployments) Deployment(_ context.Context, group string) (api.Deployment, bool) {
	apps := []api.DeploymentApp{{ID: "/imp-blue", Tasks: []api.DeploymentTask{{Task: "blue.1"}}}}
	events := []api.DeploymentEvent{{Kind: "trouble", Text: "at http://joe:s3cret@marathon.test/"}}
	return api.Deployment{Group: group, State: "5f2c", Apps: apps, Events: events}, group == "imp" || group == "shop/web"
}

func (f *fakeDeployments) Short(group string) (api.Deployment, bool) {
	return f.Deployment(context.Background(), group)
}

func (f *fakeDeployments) Step(_ context.Context, r DeploymentRequest) (api.DeploymentStep, StepOutcome) {
	f.asked = append(f.asked, r)
	if f.panics {
		panic("a bug")
	}
	if f.outcome == StepMade {
		return api.DeploymentStep{}, StepMade
	}
	return api.DeploymentStep{Error: "not so: http://joe:s3cret@marathon.test/"}, f.outcome
}

// requested answers one request, with headers as they are on the wire.
func requested(config Config, method, url string, headers []string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, url, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	New(config, nil).Handler().ServeHTTP(w, r)
	return w
}

func TestDeployments(t *testing.T) {
	t.Parallel()
	config := newConfig(fakeViews{})
	config.Deployments = &fakeDeployments{}
	handler := New(config, nil).Handler()
	for path, want := range map[string]string{
		"/api/v1/deployments":              `"group": "shop/web"`,
		"/api/v1/deployments?q=IMP":        `"total": 1`,
		"/api/v1/deployments?limit=1":      `"next"`,
		"/api/v1/deployments/imp":          `"task": "blue.1"`,
		"/api/v1/deployments/shop%2Fweb":   `"group": "shop/web"`,
		"/api/v1/deployments/shop/web":     `nothing at`,
		"/api/v1/deployments/none":         `no app names`,
		"/api/v1/deployments/imp?force=no": `no parameter`,
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "http://relay.test"+path, nil))
		if !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "s3cret") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if short := !strings.Contains(path, "/deployments/"); short && strings.Contains(w.Body.String(), "blue.1") {
			t.Errorf("the list has tasks: %s", w.Body)
		}
	}
}

// Steps are asked for by POST, by who may use the endpoint, where not everybody may, and by no page of
// another site.
func TestWhoMayMakeSteps(t *testing.T) {
	t.Parallel()
	token := func() secret.String { return "s3cret-token" }
	local, guarded := Access{ThisMachine: true}, Access{Token: token}
	const advance = "http://127.0.0.1:9090/api/v1/deployments/imp/advance"
	for _, tt := range []struct {
		name, method, url string
		access            Access
		headers           []string
		status            int
		want              DeploymentRequest
	}{
		{"this machine", "POST", advance, local, nil, 200, DeploymentRequest{Group: "imp"}},
		{"back", "POST", "http://127.0.0.1:9090/api/v1/deployments/shop%2Fweb/rollback?instances=2&force=true&state=x", local, nil, 200, DeploymentRequest{Group: "shop/web", Back: true, Instances: 2, Force: true, If: "x"}},
		{"token", "POST", advance, guarded, []string{"Authorization: Bearer s3cret-token"}, 200, DeploymentRequest{Group: "imp"}},
		{"no token", "POST", advance, guarded, nil, 401, DeploymentRequest{}},
		{"wrong token", "POST", advance, guarded, []string{"Authorization: Bearer guess"}, 401, DeploymentRequest{}},
		{"no certificate", "POST", advance, Access{ClientCertificates: true, VerifyAgain: func([][]*x509.Certificate) error { return nil }}, nil, 403, DeploymentRequest{}},
		{"everybody may read", "POST", advance, Access{}, nil, 403, DeploymentRequest{}},
		{"only hooks are restricted", "POST", advance, Access{HookNetworks: local.HookNetworks}, nil, 403, DeploymentRequest{}},
		{"page of another site", "POST", advance, local, []string{"Sec-Fetch-Site: cross-site"}, 403, DeploymentRequest{}},
		{"page of another site, token of the browser", "POST", advance, guarded, []string{"Authorization: Bearer s3cret-token", "Sec-Fetch-Site: cross-site"}, 403, DeploymentRequest{}},
		{"form of an older browser", "POST", advance, local, []string{"Origin: https://evil.test"}, 403, DeploymentRequest{}},
		{"DNS rebinding", "POST", "http://evil.test:9090/api/v1/deployments/imp/advance", local, nil, 403, DeploymentRequest{}},
		{"image", "GET", advance, local, nil, 405, DeploymentRequest{}},
		{"hook in disguise", "POST", "http://127.0.0.1:9090/_mlb_signal/../api/v1/deployments/imp/advance", guarded, nil, 401, DeploymentRequest{}},
		{"no number", "POST", advance + "?instances=-1", local, nil, 400, DeploymentRequest{}},
		{"too many", "POST", advance + "?instances=10001", local, nil, 400, DeploymentRequest{}},
		{"what is no parameter", "POST", advance + "?kill=all", local, nil, 400, DeploymentRequest{}},
	} {
		deployments := &fakeDeployments{}
		config := newConfig(fakeViews{})
		config.Deployments, config.Access = deployments, tt.access
		w := requested(config, tt.method, tt.url, tt.headers)
		var got DeploymentRequest
		if len(deployments.asked) > 0 {
			got = deployments.asked[0]
		}
		if w.Code != tt.status || got != tt.want {
			t.Errorf("%s: status %d, want %d; asked for %+v: %s", tt.name, w.Code, tt.status, deployments.asked, w.Body)
		}
	}
}

func TestStepOutcomes(t *testing.T) {
	t.Parallel()
	for outcome, status := range stepStatus {
		config := newConfig(fakeViews{})
		config.Deployments, config.Access = &fakeDeployments{outcome: outcome}, Access{ThisMachine: true}
		w := httptest.NewRecorder()
		New(config, nil).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/api/v1/deployments/imp/advance", nil))
		if w.Code != status || strings.Contains(w.Body.String(), "s3cret") || (outcome != StepMade) != strings.Contains(w.Body.String(), "not so") {
			t.Errorf("%d: %d %s", outcome, w.Code, w.Body)
		}
	}
	config := newConfig(fakeViews{})
	config.Deployments, config.Access = &fakeDeployments{panics: true}, Access{ThisMachine: true}
	w := httptest.NewRecorder()
	New(config, nil).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/api/v1/deployments/imp/advance", nil))
	if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "bug") {
		t.Errorf("a bug: %d %s", w.Code, w.Body)
	}
}
