package relay

import (
	"cmp"
	"slices"
	"strings"

	"relay/admin"
	"relay/admin/api"
	"relay/collator/explain"
	"relay/collator/routing"
)

// scalingReports tells the admin endpoint what is done with the number of instances.
type scalingReports struct{ relay *Relay }

var _ admin.Scaling = scalingReports{}

// AppScaling implements admin.Scaling.
func (s scalingReports) AppScaling(id string) *api.Scaling {
	parts := s.relay.scaling
	name := s.relay.collator.RoutedID(id)
	queued := s.queuesOf(name)
	story, ok := parts.controller.Story(id)
	if !ok {
		if len(queued) == 0 {
			return nil
		}
		return &api.Scaling{Phase: api.PhaseAwake, Text: "its number of instances is what people set", Queues: queued}
	}
	shown := &api.Scaling{
		Phase: story.Phase.String(), Since: story.Since.UTC(), Reason: story.Reason, Text: cmp.Or(story.Why, story.Reason),
		Size: story.Size, Trouble: story.Trouble, Instances: story.Instances, Before: story.WakesTo, Queues: queued,
	}
	if w, ok := parts.wake.WaitingFor(name); ok {
		shown.Waiting = w.Requests
	}
	for _, e := range slices.Backward(story.Events) {
		shown.Events = append(shown.Events, api.ScalingEvent{Time: e.At.UTC(), Kind: e.Kind, Text: e.Reason, Took: e.Took.Seconds()})
	}
	return shown
}

// Phase implements admin.Scaling.
func (s scalingReports) Phase(id string) string {
	phase, ok := s.relay.scaling.controller.Phase(s.relay.collator.RoutedID(id))
	if !ok {
		return ""
	}
	return phase.String()
}

// Status implements admin.Scaling.
func (s scalingReports) Status() *api.ScalingStatus {
	parts := s.relay.scaling
	sum := parts.controller.Summary()
	status := &api.ScalingStatus{Apps: sum.Apps, Decisions: sum.Told, Queued: parts.queue.Waiting(), Wakes: s.Wakes()}
	slices.SortStableFunc(status.Wakes, func(a, b api.Wake) int { return a.Since.Compare(b.Since) })
	for _, w := range status.Wakes {
		status.Waiting += w.Requests
	}
	return status
}

func (s scalingReports) queuesOf(name string) (all []api.Queue) {
	app := s.relay.collator.Routed(name)
	if app == nil {
		return nil
	}
	for i, port := range app.Ports {
		if port.Queue == nil || routing.IsTCP(port) {
			continue
		}
		depth := s.relay.scaling.queue.Depth(name, i)
		all = append(all, api.Queue{Port: i, Concurrency: port.Queue.Concurrency, Length: port.Queue.Length, InProgress: depth.InProgress, Waiting: depth.Waiting})
	}
	return all
}

// Wakes implements admin.Scaling.
func (s scalingReports) Wakes() []api.Wake {
	var all []api.Wake
	for _, w := range s.relay.scaling.wake.Waiting() {
		all = append(all, api.Wake{App: w.App, Requests: w.Requests, Since: w.Since.UTC(), Why: w.Why})
	}
	slices.SortFunc(all, func(a, b api.Wake) int { return strings.Compare(a.App, b.App) })
	return all
}

// explainScaling says of an app what explanations have of that.
func (r *Relay) explainScaling(id string) *explain.AppScaling {
	if r.scaling == nil {
		return nil
	}
	shown := scalingReports{r}.AppScaling(id)
	if shown == nil {
		return nil
	}
	e := &explain.AppScaling{Phase: shown.Phase, Since: shown.Since, Reason: shown.Reason, Text: shown.Text, Size: shown.Size, Trouble: shown.Trouble, Sleeps: shown.Sleeps()}
	for _, event := range shown.Events {
		e.Events = append(e.Events, event.Time.Format("2006-01-02 15:04:05 UTC")+" "+event.Kind+": "+event.Text)
	}
	return e
}
