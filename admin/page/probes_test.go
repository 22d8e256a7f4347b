package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// People see what fails, its steps, and where it is explained. Where nothing is asked, the page says so.
func TestProbesPage(t *testing.T) {
	t.Parallel()
	data := wellData()
	mux := http.NewServeMux()
	New(data, "", nil).Register(mux)
	page := func(path string) string {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	if text := page("/probes?none"); !strings.Contains(text, "it runs without <code>--probes</code>") || strings.Contains(text, `<a href="/probes"`) {
		t.Errorf("without probes:\n%s", text)
	}
	data.probes = []api.Probe{
		{ID: "external/edge-2/shop.test", Name: "shop.test", Kind: "http", Fleet: "external", Envoy: "edge-2", Domain: "shop.test", App: "/shop/web", Owner: "team-shop", Status: 503, Code: "no-task",
			Reason: "answer: the Envoy answers no-task", Since: time.Now(), Explain: "/api/v1/explain?subject=shop.test", Steps: []api.ProbeStep{{Name: "connect", OK: true}, {Name: "answer", Seen: "the Envoy answers no-task"}}},
		{ID: "external/edge-1/a.test", Name: "a.test", Kind: "grpc", Fleet: "external", Envoy: "edge-1", Domain: "a.test", Success: true, Sampled: true},
		{ID: "external/edge-1/sleepy.test", Name: "sleepy.test", Kind: "http", Skipped: "the app sleeps"},
	}
	data.status.Probes = &api.ProbesStatus{Place: "frankfurt", Asked: 2, Failing: 1, Worst: data.probes[:1]}
	text := page("/probes")
	for _, want := range []string{
		"from frankfurt", "1 probe failed", `href="/envoys/external/edge-2"`, `href="/apps/shop/web"`, "team-shop", "the Envoy answers no-task", `<a href="/domains/shop.test">How it is routed, and why</a>`,
		"<details open>", "<details>", "grpc, by chance", "the app sleeps", `<span class="badge dim">not asked</span>`, `<span id="nav-probes" class="pill bad">1</span>`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q:\n%s", want, text)
		}
	}
	if strings.Count(text, "How it is routed") != 1 {
		t.Error("what does not fail is explained")
	}
	if text := page("/?again"); !strings.Contains(text, `<b class="bad">1</b> probe fails <span class="dim small">of 2</span>`) {
		t.Errorf("the first page says nothing of probes:\n%s", text)
	}
}
