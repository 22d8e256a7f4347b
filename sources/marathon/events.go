package marathon

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"relay/sources"
)

// change is what may have changed by what an event says. Events may be lost or come in
// another order, so they only name what has to be read again.
type change struct {
	// kind is the event's type.
	eventType string
	// apps are the ids of the apps to read.
	apps []string
	// full asks for a full read.
	full bool
	// deployment is the id of the deployment that names the apps; ended tells that it is over.
	deployment string
	ended      bool
	// task, state and health are what the event says of a task, as it says it.
	task, state, health string
	// group is the group whose apps have new definitions that can be read now.
	group string
}

// subscribed are the event types asked for. Marathon before 1.3.7 sends all
// types whatever is asked.
var subscribed = []string{
	"event_stream_attached", "api_post_event", "app_terminated_event", "status_update_event",
	"instance_changed_event", "instance_health_changed_event", "health_status_changed_event",
	"unhealthy_instance_kill_event", "unhealthy_task_kill_event", "unknown_instance_terminated_event",
	"deployment_info", "deployment_success", "deployment_failed", "deployment_step_success",
	"deployment_step_failure", "group_change_success",
}

// podEvents are asked for as well where pods are routed.
var podEvents = []string{"pod_created_event", "pod_updated_event", "pod_deleted_event"}

type eventJSON struct {
	EventType     string `json:"eventType"`
	AppID         string `json:"appId"`
	RunSpecID     string `json:"runSpecId"`
	AppDefinition *struct {
		ID string `json:"id"`
	} `json:"appDefinition"`
	ID          string    `json:"id"`
	TaskID      remark    `json:"taskId"`
	InstanceID  remark    `json:"instanceId"`
	TaskStatus  remark    `json:"taskStatus"`
	Condition   remark    `json:"condition"`
	Alive       remark    `json:"alive"`
	Healthy     remark    `json:"healthy"`
	GroupID     string    `json:"groupId"`
	URI         string    `json:"uri"`
	Plan        *planJSON `json:"plan"`
	CurrentStep *stepJSON `json:"currentStep"`
}

// remark is for people alone: a value of another type does not make an event unreadable.
type remark string

// UnmarshalJSON takes texts and what is true or false.
func (r *remark) UnmarshalJSON(data []byte) error {
	switch {
	case data[0] == '"':
		return json.Unmarshal(data, (*string)(r))
	case data[0] == 't', data[0] == 'f':
		*r = remark(data)
	}
	return nil
}

type planJSON struct {
	ID    string      `json:"id"`
	Steps *[]stepJSON `json:"steps"`
}

type stepJSON struct {
	Actions []struct {
		App string `json:"app"`
		Pod string `json:"pod"`
	} `json:"actions"`
}

// parseEvent reads the data of one message. After an error everything has to be read:
// something may have changed, and it is not known what. Events that concern pods alone
// change nothing if pods are not routed.
func parseEvent(m message, pods bool) (change, error) {
	var e eventJSON
	if err := json.Unmarshal(m.data, &e); err != nil {
		return change{eventType: m.name}, fmt.Errorf("event %q is not readable: %w", clip(m.name), err)
	}
	c := change{eventType: e.EventType, task: string(cmp.Or(e.TaskID, e.InstanceID)), state: string(cmp.Or(e.TaskStatus, e.Condition))}
	c.health = map[remark]string{"true": "healthy", "false": "unhealthy"}[cmp.Or(e.Alive, e.Healthy)]
	if c.eventType == "" {
		c.eventType = m.name
	}
	switch c.eventType {
	case "api_post_event":
		if e.AppDefinition == nil {
			return c, errors.New("api_post_event has no appDefinition")
		}
		return c, c.app(e.AppDefinition.ID)
	case "app_terminated_event", "status_update_event", "health_status_changed_event",
		"unhealthy_instance_kill_event", "unhealthy_task_kill_event":
		return c, c.app(e.AppID)
	case "instance_changed_event", "instance_health_changed_event", "unknown_instance_terminated_event":
		return c, c.app(e.RunSpecID)
	case "deployment_info", "deployment_step_success", "deployment_step_failure":
		c.readPlan(e, pods)
	case "deployment_success", "deployment_failed":
		c.readPlan(e, pods)
		c.ended = true
	case "pod_created_event", "pod_updated_event", "pod_deleted_event":
		if pods {
			c.readPodURI(e.URI)
		}
	case "group_change_success":
		c.group = e.GroupID
		if !strings.HasPrefix(c.group, "/") {
			c.group = "/" + c.group
		}
	}
	return c, nil
}

// marathonSays begins the causes that this source tells.
const marathonSays = "Marathon: "

// words say to people what happened.
func (c change) words() string {
	words := clip(c.eventType)
	if c.task != "" {
		words += " of task " + clip(c.task)
	}
	for _, word := range []string{c.state, c.health} {
		if word != "" {
			words += ", " + clip(word)
		}
	}
	if c.deployment != "" {
		words += " of deployment " + clip(c.deployment)
	}
	if c.group != "" {
		words += " of group " + clip(c.group)
	}
	return words
}

func (c *change) app(id string) error {
	if len(id) > sources.MaxIDBytes {
		return nil // such an app is not routed
	}
	id, ok := cleanID(id)
	if !ok {
		return fmt.Errorf("%s names no app", c.eventType)
	}
	c.apps = append(c.apps, id)
	return nil
}

// readPodURI takes the pod from the path of the request that changed it. A
// request that created one does not name it.
func (c *change) readPodURI(uri string) {
	_, id, _ := strings.Cut(uri, "/v2/pods")
	id, _, _ = strings.Cut(id, "::")
	if id, _, _ = strings.Cut(id, "?"); strings.Trim(id, "/") == "" || c.app("/"+strings.Trim(id, "/")) != nil {
		c.full = true
	}
}

// readPlan collects the apps of a deployment, and its pods if they are routed. Plans of
// early releases name no apps, so everything has to be read.
func (c *change) readPlan(e eventJSON, pods bool) {
	c.deployment = e.ID
	if e.Plan != nil && e.Plan.ID != "" {
		c.deployment = e.Plan.ID
	}
	var steps []stepJSON
	if e.Plan != nil && e.Plan.Steps != nil {
		steps = *e.Plan.Steps
	} else if e.CurrentStep == nil {
		c.full = true
		return
	}
	if e.CurrentStep != nil {
		steps = append(steps, *e.CurrentStep)
	}
	seen := map[string]bool{}
	for _, s := range steps {
		for _, a := range s.Actions {
			id := a.App
			if id == "" && pods {
				id = a.Pod
			}
			if id == "" || seen[id] {
				continue
			}
			seen[id] = true
			if c.app(id) != nil {
				c.full = true
			}
		}
	}
}

// cleanID returns an app id in its absolute form; false when it cannot be the id of an app.
func cleanID(id string) (string, bool) {
	if len(id) > sources.MaxIDBytes {
		return "", false
	}
	if !strings.HasPrefix(id, "/") {
		id = "/" + id
	}
	for segment := range strings.SplitSeq(id[1:], "/") {
		switch segment {
		case "", ".", "..", "*":
			return "", false
		}
		for _, c := range []byte(segment) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
				return "", false
			}
		}
	}
	return id, true
}

// ambiguousID reports whether GET /v2/apps/{id} may be answered by something else than the
// app, such as the tasks of another one. Before Marathon 1.8 an id could end like the path
// of something below an app.
func ambiguousID(id string) bool {
	for _, s := range []string{"restart", "tasks", "versions"} {
		if strings.HasSuffix(id, "/"+s) {
			return true
		}
	}
	return strings.Contains(id, "/versions/") || strings.Contains(id, "/tasks/")
}
