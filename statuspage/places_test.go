package statuspage

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// TestRemotePlace reads a place by TLS, with a token, page by page; with another token as soon as there is one.
func TestRemotePlace(t *testing.T) {
	t.Parallel()
	const probes = 2500
	token, incidents := "first", true
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/v1/probes":
			from, _ := strconv.Atoi(r.FormValue("cursor"))
			limit, _ := strconv.Atoi(r.FormValue("limit"))
			said := api.Probes{Place: "far", Time: noon, Interval: 30, Page: api.Page{Total: probes}}
			for i := from; i < min(from+limit, probes); i++ {
				said.Probes = append(said.Probes, api.Probe{ID: fmt.Sprint("external/edge/", i), Domain: "a.test", App: "/a", Success: i%2 == 0, Time: noon, Since: noon, Duration: 0.5, Reason: "10.0.0.7 refused"})
			}
			if from+limit < probes {
				said.Next = strconv.Itoa(from + limit)
			}
			_ = json.NewEncoder(w).Encode(said)
		case r.URL.Path == "/api/v1/incidents" && incidents:
			_ = json.NewEncoder(w).Encode(api.Incidents{Incidents: []api.Incident{{ID: "x", Title: "Title"}}})
		default:
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(api.Error{Error: "no status page here"})
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	ca, tokenFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	read := remoteReader(PlaceSettings{Name: "far", URL: server.URL, TokenFile: tokenFile, CAFile: ca})
	if _, err := read(t.Context()); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without the file of its token: %v", err)
	}
	write(tokenFile, []byte("first\n"))
	a, err := read(t.Context())
	if err != nil || len(a.probes) != probes || a.name != "far" || !a.at.Equal(noon) || a.interval != 30*time.Second || len(a.incidents) != 1 {
		t.Fatalf("%d probes, %+v, %v", len(a.probes), a.incidents, err)
	}
	if p := a.probes[probes-1]; p.ID != "external/edge/2499" || p.Success || p.Domain != "a.test" || p.App != "/a" || p.Duration != 0.5 || !p.Time.Equal(noon) {
		t.Errorf("%+v", p)
	}
	token, incidents = "second", false
	if _, err := read(t.Context()); err == nil || strings.Contains(err.Error(), "first") {
		t.Errorf("with an old token: %v", err)
	}
	write(tokenFile, []byte("second\n"))
	if a, err := read(t.Context()); err != nil || len(a.probes) != probes || len(a.incidents) != 0 {
		t.Errorf("without a status page of its own: %v", err)
	}
}

// A place that answers with something else is away, whatever that is.
func TestOddPlace(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "null", "[]", `{"probes": 1}`, `{"probes": [1], "time": "2026-11-30T12:00:00Z"}`, `{"probes": [{"time": "yesterday"}]}`, "<html>", `{"probes": []}`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}))
		p := &place{name: "odd", read: remoteReader(PlaceSettings{URL: server.URL}), told: func([]api.Incident) {}}
		p.ask(t.Context())
		if o, _, err := p.observe(time.Now()); err == nil || !o.away {
			t.Errorf("%s: %+v, %v", body, o, err)
		}
		server.Close()
	}
}

// BenchmarkReadPlace reads a place of 10000 probes, page by page.
func BenchmarkReadPlace(b *testing.B) {
	const probes = 10_000
	var pages [][]byte
	for from := 0; from < probes; from += api.DefaultLimit {
		said := api.Probes{Place: "far", Time: noon, Interval: 30, Page: api.Page{Total: probes}}
		for i := from; i < min(from+api.DefaultLimit, probes); i++ {
			said.Probes = append(said.Probes, api.Probe{
				ID: fmt.Sprint("external/edge/", i), Name: "a.test", Kind: "http", Fleet: "external", Envoy: "edge", Domain: "a.test", App: "/a", Success: true, Time: noon, Since: noon, Duration: 0.5,
				Status: 200, Steps: []api.ProbeStep{{Name: "connect", OK: true}, {Name: "tls", OK: true}, {Name: "answer", OK: true}}, Explain: "/api/v1/explain?subject=a.test",
			})
		}
		if from+api.DefaultLimit < probes {
			said.Next = strconv.Itoa(len(pages) + 1)
		}
		text, _ := json.MarshalIndent(said, "", "  ")
		pages = append(pages, text)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/probes" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		at, _ := strconv.Atoi(r.FormValue("cursor"))
		_, _ = w.Write(pages[at])
	}))
	defer server.Close()
	read := remoteReader(PlaceSettings{URL: server.URL})
	for b.Loop() {
		if a, err := read(b.Context()); err != nil || len(a.probes) != probes {
			b.Fatal(len(a.probes), err)
		}
	}
}

// BenchmarkLook judges 3 places of 10000 probes each, by 20 services.
func BenchmarkLook(b *testing.B) {
	text := "services:\n"
	for i := range 20 {
		text += fmt.Sprintf("  - {name: s%d, domains: ['*.s%d.test', 'www.s%d.test'], apps: ['/s%d/*']}\n", i, i, i, i)
	}
	m := New(Config{Settings: parsed(b, text), Log: quiet})
	for i := range 3 {
		a := answer{at: noon, interval: time.Minute}
		for k := range 10_000 {
			a.probes = append(a.probes, seenProbe{
				ID: fmt.Sprint("external/edge-", k%20, "/d", k/20), Name: fmt.Sprint("d", k, ".s", k%20, ".test"), Domain: fmt.Sprint("d", k, ".s", k%20, ".test"),
				App: fmt.Sprint("/s", k%20, "/app"), Fleet: "external", Success: true, Time: noon, Since: noon.Add(-time.Hour),
			})
		}
		m.addPlace(fmt.Sprint(i), func(context.Context) (answer, error) { return a, nil })
		m.places[i].ask(b.Context())
	}
	now := time.Now()
	for b.Loop() {
		now = now.Add(lookEvery)
		for _, p := range m.places {
			p.lastAt = now
		}
		m.look(now)
	}
	if states(m) != strings.TrimSpace(strings.Repeat("up ", 20)) {
		b.Error(states(m))
	}
}
