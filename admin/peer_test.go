package admin

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/internal/secret"
	"relay/scaling/peers"
)

// knowing is a Relay that knows something of each app.
type knowing struct{ against string }

// Report implements peers.Local.
func (k knowing) Report(app string) peers.Report {
	return peers.Report{App: app, Against: k.against, Quiet: true}
}

// Loads implements peers.Local.
func (knowing) Loads() []peers.Report {
	return []peers.Report{{App: "/sized", InProgress: 2.5, Known: true}}
}

// Reporting implements peers.Local.
func (knowing) Reporting(envoys []peers.Envoy) []peers.Envoy {
	return slices.DeleteFunc(slices.Clone(envoys), func(e peers.Envoy) bool { return e.ID == "edge-2" })
}

// Missing implements peers.Local.
func (knowing) Missing() []peers.Envoy { return nil }

// fakeSlots are the slots of a Relay.
type fakeSlots struct{ peers.Slots }

// Began implements peers.Slots.
func (fakeSlots) Began() time.Time { return time.Unix(1, 0) }

// Known implements peers.Slots.
func (fakeSlots) Known([]uint64) ([]int, []peers.SlotPort) {
	return []int{1}, []peers.SlotPort{{App: "/a", Port: 1, Slots: map[string]int{"a.1": 3}}}
}

// Relays ask each other at the endpoint, with the token that it wants.
func TestPeersAskEachOther(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	other := peers.New(peers.Config{}, knowing{"a WebSocket is open"}, log)
	other.Slots = fakeSlots{}
	cfg := newConfig(fakeViews{})
	cfg.Peer = other.Answer
	cfg.Access.Token = func() secret.String { return "sesame" }
	server := httptest.NewServer(New(cfg, nil).Handler())
	defer server.Close()

	file := filepath.Join(t.TempDir(), "token")
	app := "deployment-group/a, b&c=d"
	mine := peers.New(peers.Config{URLs: []string{server.URL + "/"}, TokenFile: file}, knowing{}, log)
	for token, want := range map[string]string{"": "peers-token-file", "wrong": "it does not let this Relay in", "sesame": ""} {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		reports, err := mine.Reports(t.Context(), app)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
				t.Errorf("token %q: %v, %v", token, reports, err)
			}
			continue
		}
		expected := peers.Report{Peer: server.URL, App: app, Against: "a WebSocket is open", Quiet: true}
		if err != nil || len(reports) != 1 || !reflect.DeepEqual(reports[0], expected) {
			t.Errorf("%+v, %v", reports, err)
		}
	}
	for query, want := range map[string]string{
		"slots=" + strings.Repeat("0", peers.MaxDigests): `"a.1": 3`,
		"slots=true":                         "64 digests of 16",
		"loads=true":                         `"inProgress": 2.5`,
		"envoys=ext%2Fedge-1%2Cext%2Fedge-2": `"id": "edge-1"`,
		"apps=,":                             "entry 1 is no name",
		"apps=" + strings.Repeat("a", peers.MaxQuery+1): "at most 8192",
		"x=y": "there is no parameter",
	} {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "http://relay.test/api/v1/peer?"+query, nil)
		req.SetBasicAuth("", "sesame")
		w := httptest.NewRecorder()
		New(cfg, nil).Handler().ServeHTTP(w, req)
		if body := w.Body.String(); !strings.Contains(body, want) || strings.Contains(body, "edge-2") {
			t.Errorf("%.40s: %d %s, want %q", query, w.Code, body, want)
		}
	}
	w := httptest.NewRecorder()
	New(newConfig(fakeViews{}), nil).Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://relay.test/api/v1/peer", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "without --scaling") {
		t.Errorf("without scaling: %d %s", w.Code, w.Body)
	}
}
