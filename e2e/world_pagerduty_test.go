package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pagerDuty speaks PagerDuty's Events API v2, and refuses what it refuses:
// https://developer.pagerduty.com/api-reference/368ae3d938c9e-send-an-event-to-pager-duty
type pagerDuty struct {
	// URL is where events go to.
	URL string

	mu        sync.Mutex
	incidents []*incident
	refused   []string // what was wrong with events
	throttle  int      // so many of the next events get 429
}

// incident is what events with one key were about, until it is resolved.
type incident struct {
	service, key                string // the routing key of the service, and the dedup_key
	summary, severity           string
	source, component, class    string
	details                     map[string]any
	opened, resolved            time.Time
	triggers                    int
	summaryOfLast, groupOfAlert string
}

// pagerDutyEvent is an event. https://developer.pagerduty.com/docs/send-alert-event
type pagerDutyEvent struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Client      string `json:"client"`
	ClientURL   string `json:"client_url"`
	Payload     *struct {
		Summary       string         `json:"summary"`
		Source        string         `json:"source"`
		Severity      string         `json:"severity"`
		Timestamp     string         `json:"timestamp"`
		Component     string         `json:"component"`
		Group         string         `json:"group"`
		Class         string         `json:"class"`
		CustomDetails map[string]any `json:"custom_details"`
	} `json:"payload"`
	Images []struct{ Src, Href, Alt string } `json:"images"`
	Links  []struct{ Href, Text string }     `json:"links"`
}

// maxEvent is how large an event may be, in bytes.
const maxEvent = 512 << 10

// check returns what is wrong with an event, in PagerDuty's words.
func (e *pagerDutyEvent) check() (wrong []string) {
	if len(e.RoutingKey) != 32 {
		wrong = append(wrong, "Length of 'routing_key' is incorrect (should be 32 characters)")
	}
	if !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.EventAction) {
		wrong = append(wrong, "'event_action' is missing or is not one of trigger, acknowledge, resolve")
	}
	if len(e.DedupKey) > 255 {
		wrong = append(wrong, "'dedup_key' is too long (maximum is 255 characters)")
	}
	if e.EventAction != "trigger" {
		if e.DedupKey == "" {
			wrong = append(wrong, "'dedup_key' is missing or blank")
		}
		return wrong
	}
	if e.Payload == nil {
		return append(wrong, "'payload' is missing or blank")
	}
	if e.Payload.Summary == "" || len([]rune(e.Payload.Summary)) > 1024 {
		wrong = append(wrong, "'payload.summary' is missing or blank, or too long (maximum is 1024 characters)")
	}
	if e.Payload.Source == "" {
		wrong = append(wrong, "'payload.source' is missing or blank")
	}
	if !slices.Contains([]string{"critical", "warning", "error", "info"}, e.Payload.Severity) {
		wrong = append(wrong, "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')")
	}
	if at := e.Payload.Timestamp; at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			wrong = append(wrong, "'payload.timestamp' is invalid")
		}
	}
	for _, l := range e.Links {
		if l.Href == "" {
			wrong = append(wrong, "'links.href' is missing or blank")
		}
	}
	for _, i := range e.Images {
		if i.Src == "" {
			wrong = append(wrong, "'images.src' is missing or blank")
		}
	}
	return wrong
}

// startPagerDuty runs one until the test ends, which fails if an event was refused.
func startPagerDuty(t *testing.T) *pagerDuty {
	p := &pagerDuty{}
	server := httptest.NewServer(p)
	p.URL = server.URL + "/v2/enqueue"
	t.Cleanup(func() {
		server.Close()
		for _, why := range p.refused {
			t.Errorf("PagerDuty refuses an event: %s", why)
		}
	})
	return p
}

func (p *pagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEvent+1))
	status, answer := p.take(r, body, err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *pagerDuty) take(r *http.Request, body []byte, err error) (status int, answer map[string]any) {
	invalid := func(wrong ...string) (int, map[string]any) {
		p.refused = append(p.refused, fmt.Sprintf("%s: %s", strings.Join(wrong, "; "), body[:min(len(body), 2000)]))
		return http.StatusBadRequest, map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": wrong}
	}
	switch {
	case r.URL.Path != "/v2/enqueue":
		return http.StatusNotFound, map[string]any{"status": "not found"}
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, map[string]any{"status": "method not allowed"}
	case p.throttle > 0:
		p.throttle--
		return http.StatusTooManyRequests, map[string]any{"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly. Please retry later."}
	case err != nil || len(body) > maxEvent:
		p.refused = append(p.refused, fmt.Sprintf("%d bytes: %v", len(body), err))
		return http.StatusRequestEntityTooLarge, map[string]any{"status": "too large"}
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return invalid("Content-Type is not application/json")
	}
	var event pagerDutyEvent
	if err := json.Unmarshal(body, &event); err != nil {
		return invalid("JSON is invalid: " + err.Error())
	}
	if wrong := event.check(); len(wrong) > 0 {
		return invalid(wrong...)
	}
	if event.DedupKey == "" {
		event.DedupKey = fmt.Sprint("made-", len(p.incidents))
	}
	p.apply(event)
	return http.StatusAccepted, map[string]any{"status": "success", "message": "Event processed", "dedup_key": event.DedupKey}
}

// apply opens or resolves an incident. An event of one that is open opens no other.
func (p *pagerDuty) apply(e pagerDutyEvent) {
	i := slices.IndexFunc(p.incidents, func(i *incident) bool {
		return i.service == e.RoutingKey && i.key == e.DedupKey && i.resolved.IsZero()
	})
	switch {
	case e.EventAction == "resolve" && i >= 0:
		p.incidents[i].resolved = time.Now()
	case e.EventAction == "trigger" && i >= 0:
		p.incidents[i].triggers++
		p.incidents[i].summaryOfLast = e.Payload.Summary
	case e.EventAction == "trigger":
		p.incidents = append(p.incidents, &incident{
			service: e.RoutingKey, key: e.DedupKey, summary: e.Payload.Summary, severity: e.Payload.Severity, source: e.Payload.Source,
			component: e.Payload.Component, class: e.Payload.Class, groupOfAlert: e.Payload.Group, details: e.Payload.CustomDetails,
			summaryOfLast: e.Payload.Summary, opened: time.Now(), triggers: 1,
		})
	}
}

// all returns the incidents that were opened so far, the oldest first.
func (p *pagerDuty) all() (all []incident) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.incidents {
		all = append(all, *i)
	}
	return all
}

// The receiver refuses what PagerDuty refuses, makes one incident of the events with one key, and
// resolves it.
func TestPagerDutyOfTheTests(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("k", 32)
	trigger := func(summary, severity, dedup string) string {
		text, _ := json.Marshal(map[string]any{
			"routing_key": key, "event_action": "trigger", "dedup_key": dedup,
			"payload": map[string]any{"summary": summary, "source": "relay", "severity": severity},
		})
		return string(text)
	}
	p := &pagerDuty{}
	for _, c := range []struct {
		name, event string
		status      int
	}{
		{"a trigger", trigger("down", "critical", "a"), 202},
		{"the same again", trigger("down", "critical", "a"), 202},
		{"another", trigger("down", "error", "b"), 202},
		{"a resolve", `{"routing_key":"` + key + `","event_action":"resolve","dedup_key":"a"}`, 202},
		{"a resolve of nothing", `{"routing_key":"` + key + `","event_action":"resolve","dedup_key":"x"}`, 202},
		{"without a summary", trigger("", "critical", "c"), 400},
		{"a long summary", trigger(strings.Repeat("x", 1025), "critical", "c"), 400},
		{"a severity of ours alone", trigger("down", "page", "c"), 400},
		{"no severity", trigger("down", "", "c"), 400},
		{"a long key", trigger("down", "critical", strings.Repeat("x", 256)), 400},
		{"no payload", `{"routing_key":"` + key + `","event_action":"trigger"}`, 400},
		{"a wrong routing key", strings.Replace(trigger("down", "critical", "c"), key, "short", 1), 400},
		{"another action", `{"routing_key":"` + key + `","event_action":"open","dedup_key":"a"}`, 400},
		{"a resolve without a key", `{"routing_key":"` + key + `","event_action":"resolve"}`, 400},
		{"no JSON", `{`, 400},
		{"too large", trigger(strings.Repeat("x", maxEvent), "critical", "c"), 413},
	} {
		r := httptest.NewRequest(http.MethodPost, "/v2/enqueue", strings.NewReader(c.event))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if p.ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", c.name, w.Code, c.status, w.Body)
		}
	}
	all := p.all()
	if len(all) != 2 || all[0].triggers != 2 || all[0].resolved.IsZero() || !all[1].resolved.IsZero() {
		t.Errorf("the incidents are %+v", all)
	}
}
