package peers

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever names apps and Envoys have, a question comes as it was asked.
func FuzzQuestion(f *testing.F) {
	f.Add("/shop/web", "external", "edge-1", true)
	f.Add("deployment-group/a,b", "a/b", "x,y/z%", false)
	f.Fuzz(func(t *testing.T, app, fleet, id string, loads bool) {
		q := Question{Apps: []string{app, "/x"}, Envoys: []Envoy{{fleet, id}, {"e", "f"}}, Loads: loads, Slots: make([]uint64, SlotParts)}
		q.Slots[len(app)%SlotParts] = uint64(len(id)) << 60
		values := q.query()
		got, err := Parse(values.Get("apps"), values.Get("envoys"), values.Get("slots"), values.Get("loads") == "true")
		if err != nil {
			if app != "" && len(app)+len(fleet)+len(id) < 300 && utf8.ValidString(app) && utf8.ValidString(fleet) && utf8.ValidString(id) {
				t.Errorf("%+v: %v", q, err)
			}
			return
		}
		if !reflect.DeepEqual(got, q) {
			t.Errorf("%+v, want %+v", got, q)
		}
	})
}

// FuzzParse has questions of strangers: they are refused or small.
func FuzzParse(f *testing.F) {
	f.Add("/shop/web,%2f", "ext/edge-1")
	f.Fuzz(func(t *testing.T, apps, envoys string) {
		q, err := Parse(apps, envoys, "", false)
		if err == nil && (len(q.Apps) > MaxAsked || len(q.Envoys) > MaxAsked) {
			t.Errorf("%d apps, %d Envoys", len(q.Apps), len(q.Envoys))
		}
	})
}

// FuzzDecode has answers of strangers: they are refused or within bounds.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"instance":"x","reports":[{"app":"/a","inProgress":1e300,"against":"why","new":{}}],"envoys":[{"fleet":"e","id":"1"}]}`))
	f.Add([]byte(`{"version":1,"instance":"x","reports":null}`))
	f.Add([]byte(`{"version":1,"instance":"x","directions":[{"group":"imp","back":true,"at":"2026-05-01T12:00:00Z"}],"tasks":[{"task":"a","open":3}]}`))
	f.Add([]byte(`{"version":1,"instance":"x","began":"2026-05-01T12:00:00Z","slotParts":[3,-1],"slots":[{"app":"/a","slots":{"a":-1},"freed":[0]}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := decode(text)
		if err != nil {
			return
		}
		if len(a.Directions) > MaxAsked || len(a.Tasks) > maxReports {
			t.Errorf("%d directions, %d tasks", len(a.Directions), len(a.Tasks))
		}
		for _, task := range a.Tasks {
			if task.Task == "" || task.Open < 0 || len(task.Waiting) > maxText {
				t.Errorf("%+v", task)
			}
		}
		if a.Version != 1 || a.Instance == "" || len(a.Reports) > maxReports || len(a.Envoys) > MaxAsked {
			t.Errorf("%+v", a)
		}
		for _, r := range a.Reports {
			if r.App == "" || len(r.Against) > maxText || len(r.Phase) > maxText || !(r.InProgress >= 0) || r.Peer != "" {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestDecode(t *testing.T) {
	t.Parallel()
	report := `{"app":"/a","against":"` + strings.Repeat("ä", 600) + `","inProgress":2.5,"known":true,"quiet":true,"stopping":true,"new":1}`
	a, err := decode([]byte(`{"version":1,"instance":"x","new":{"a":[]},"reports":[` + report + `]}`))
	if err != nil || len(a.Reports) != 1 || len(a.Reports[0].Against) > maxText || !strings.HasSuffix(a.Reports[0].Against, "ä") || !a.Reports[0].Quiet || !a.Reports[0].Stopping || a.Reports[0].InProgress != 2.5 {
		t.Errorf("%+v, %v", a, err)
	}
	for text, want := range map[string]string{
		`<html>`:                              "it cannot be read",
		`{}`:                                  "not that of a Relay",
		`{"error":"nothing at /api/v1/peer"}`: "not that of a Relay",
		`{"version":2,"instance":"x"}`:        "of version 2, and this Relay knows 1",
		`{"version":1}`:                       "which Relay",
		`{"version":1,"instance":"x","directions":[{}]}`:                            "of no group",
		`{"version":1,"instance":"x","tasks":[{}]}`:                                 "task 1 has no name",
		`{"version":1,"instance":"x","tasks":[{"task":"a","open":-1}]}`:             "less than nothing",
		`{"version":1,"instance":"x","reports":[{}]}`:                               "report 1 is of no app",
		`{"version":1,"instance":"x","reports":[{"app":"/a","inProgress":-1}]}`:     "less than nothing",
		`{"version":1,"instance":"x","reports":[` + many(maxReports+1, "{}") + "]}": "20001 reports",
		`{"version":1,"instance":"x","envoys":[` + many(MaxAsked+1, "{}") + "]}":    "201 Envoys",
		strings.Repeat(" ", maxAnswer+1):                                            "more than",
	} {
		if _, err := decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

func many(n int, what string) string { return strings.TrimSuffix(strings.Repeat(what+",", n), ",") }

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ apps, envoys, want string }{
		{strings.Repeat("a", MaxQuery+1), "", "more than 8192 characters"},
		{many(MaxAsked+1, "a"), "", "more than 200"},
		{"a,,b", "", "entry 2 is no name"},
		{"%zz", "", "entry 1 is no name"},
		{"%ff", "", "entry 1 is no name"},
		{"", "edge-1", "a slash"},
	} {
		if _, err := Parse(tt.apps, tt.envoys, "", false); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20s %s: %v, want %q", tt.apps, tt.envoys, err, tt.want)
		}
	}
}

// An answer to any question is one that can be read, however many apps there are.
func TestAnswerIsBounded(t *testing.T) {
	t.Parallel()
	r := newWorld("a").relays["a"]
	for i := range maxReports + 5 {
		r.loads = append(r.loads, Report{App: fmt.Sprintf("/apps/with/a/name/that/is/quite/long/%d", i), InProgress: 123456.789, Known: true, Phase: "falling asleep"})
	}
	text, err := json.Marshal(r.Answer(Question{Loads: true}))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := decode(text); err != nil || len(a.Reports) != maxReports {
		t.Errorf("%d bytes, %d reports, %v", len(text), len(a.Reports), err)
	}
}
