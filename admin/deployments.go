package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"relay/admin/api"
	"relay/internal/panics"
)

// Deployments shows deployment groups, and makes the steps that people ask for.
type Deployments interface {
	// Groups are the names of all groups, ordered.
	Groups() []string
	// Deployment is false if there is no such group.
	Deployment(ctx context.Context, group string) (api.Deployment, bool)
	// Short is the same for lists, as far as this Relay knows without asking others.
	Short(group string) (api.Deployment, bool)
	// Step makes one step. Its answer has an Error unless the outcome is StepMade.
	Step(ctx context.Context, r DeploymentRequest) (api.DeploymentStep, StepOutcome)
}

// DeploymentRequest is a step that people ask for.
type DeploymentRequest struct {
	Group string
	// Back asks for a step back.
	Back bool
	// Instances is how many more the app gets that takes over; 0 is all that are missing. Force stops
	// tasks that drain whatever is open there.
	Instances int
	Force     bool
	// If, unless it is empty, is the state on which people decided.
	If string
}

// StepOutcome is what became of a step.
type StepOutcome int

// The outcomes.
const (
	StepMade StepOutcome = iota
	// StepUnknown is of a group that is not there.
	StepUnknown
	// StepConflict is of a group or app that others change, or have changed.
	StepConflict
	// StepRefused is of a Relay that may not change apps.
	StepRefused
	// StepFailed is of a source that did not make the change.
	StepFailed
)

var stepStatus = map[StepOutcome]int{
	StepMade: http.StatusOK, StepUnknown: http.StatusNotFound, StepConflict: http.StatusConflict,
	StepRefused: http.StatusForbidden, StepFailed: http.StatusBadGateway,
}

// maxStep is how many instances a step may add.
const maxStep = 10_000

var (
	stepParams = []parameter{
		{Name: "instances", Text: "How many more instances the app gets that takes over; without it all that are missing.", Max: maxStep},
		{Name: "force", Text: "Whether tasks that drain are stopped though connections are open there, or it is not known whether they are.", Values: []string{"false", "true"}},
		{Name: "state", Text: "The state of the deployment on which the step was decided: it is made only if that is so still."},
	}
	groupExample = map[string]string{"group": "imp"}
)

func (s *Server) deploymentRoutes() []route {
	return []route{
		{Path: "/api/v1/deployments", Summary: "The deployment groups: services of which one app takes over from another", Answer: api.Deployments{}, get: s.deployments,
			Params: []parameter{textParam, limitParam, cursorParam}},
		{Path: "/api/v1/deployments/{group}", Summary: "One deployment group: its apps, what is open at each instance, and the next step", Answer: api.Deployment{}, get: s.deployment, Missing: true, Examples: groupExample},
		{Method: http.MethodPost, Path: "/api/v1/deployments/{group}/advance", Summary: "Make one step towards the new app of a deployment group", Answer: api.DeploymentStep{}, raw: s.step(false), Missing: true, Examples: groupExample, Params: stepParams},
		{Method: http.MethodPost, Path: "/api/v1/deployments/{group}/rollback", Summary: "Make one step back to the app before the new one", Answer: api.DeploymentStep{}, raw: s.step(true), Missing: true, Examples: groupExample, Params: stepParams},
	}
}

// deployments answers /api/v1/deployments.
func (s *Server) deployments(_ *http.Request, q query) (any, error) {
	var groups []string
	if s.cfg.Deployments != nil {
		text := q.text("q")
		groups = filter(s.cfg.Deployments.Groups(), text != "", func(group string) bool { return strings.Contains(strings.ToLower(group), text) })
	}
	shown, page := pageOf(groups, q, func(group string) string { return group }, nil)
	list := api.Deployments{Deployments: make([]api.Deployment, 0, len(shown)), Page: page}
	for _, group := range shown {
		if d, ok := s.cfg.Deployments.Short(group); ok {
			d.Events = nil
			for i := range d.Apps {
				d.Apps[i].Tasks = nil
			}
			list.Deployments = append(list.Deployments, d)
		}
	}
	return list, nil
}

// deployment answers /api/v1/deployments/imp with the group "imp".
func (s *Server) deployment(r *http.Request, _ query) (any, error) {
	group := strings.Trim(r.PathValue("group"), "/")
	if s.cfg.Deployments != nil {
		if d, ok := s.cfg.Deployments.Deployment(r.Context(), group); ok {
			return redactedDeployment(d), nil
		}
	}
	return nil, unknown(fmt.Sprintf("no app names the deployment group %.200q", group))
}

// redactedDeployment has no secret in what the source said.
func redactedDeployment(d api.Deployment) api.Deployment {
	for i := range d.Events {
		d.Events[i].Text = redact(d.Events[i].Text)
	}
	return d
}

// stepTimeout is how long a step may take. It goes on if who asked goes away: half a step is worse.
const stepTimeout = time.Minute

// changesNothing is why a POST is refused where everybody may use the endpoint.
const changesNothing = "everybody who can connect may use this endpoint, so it changes nothing: give it a token (--admin-token-file) or client certificates (--admin-client-ca)"

// step answers a POST. Who may read may make steps, but not where everybody may read.
func (s *Server) step(back bool) func(http.ResponseWriter, *http.Request, query) {
	return func(w http.ResponseWriter, r *http.Request, q query) {
		group := strings.Trim(r.PathValue("group"), "/")
		if !s.cfg.Access.restricts() {
			s.json(w, http.StatusForbidden, api.Error{Error: changesNothing})
			return
		}
		if s.cfg.Deployments == nil {
			s.notFound(w, fmt.Sprintf("no app names the deployment group %.200q", group))
			return
		}
		instances, _ := strconv.Atoi(q.values["instances"]) // was read, or is not there
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), stepTimeout)
		defer cancel()
		var done api.DeploymentStep
		outcome := StepFailed
		err := panics.Catch(func() error {
			done, outcome = s.cfg.Deployments.Step(ctx, DeploymentRequest{
				Group: group, Back: back, Instances: instances, Force: q.values["force"] == "true", If: q.values["state"],
			})
			return nil
		})
		if panics.Log(s.cfg.Log, err, "group", group) {
			done.Error = "Relay has a bug: see its log"
		}
		done.Error, done.Made, done.Deployment = redact(done.Error), orEmpty(done.Made), redactedDeployment(done.Deployment)
		if outcome == StepUnknown {
			s.notFound(w, done.Error)
			return
		}
		s.json(w, stepStatus[outcome], done)
	}
}
