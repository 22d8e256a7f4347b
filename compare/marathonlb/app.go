// Package marathonlb says which rules marathon-lb makes of the apps of a Marathon, and what
// a running marathon-lb says that it has. It is a model for comparing: it serves nothing,
// and knows nothing of Relay. What it models is the last marathon-lb with its own templates, on
// HAProxy.
package marathonlb

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// App is the definition of an app and its tasks, as far as marathon-lb looks at them.
type App struct {
	ID     string
	Labels map[string]string

	mode         string // of networking, in Marathon's words
	servicePorts []int
	// containerPorts are those of tasks on a container network.
	containerPorts []int
	// fallbackPorts stand in for the ports of a task that has none.
	fallbackPorts []int
	instances     int
	lastScalingAt string
	hasChecks     bool
	checks        []check
	tasks         []task
	noLabels      bool
}

type check struct {
	Protocol  string `json:"protocol"`
	Port      int    `json:"port"`
	PortIndex *int   `json:"portIndex"`
}

type task struct {
	ID          string `json:"id"`
	Host        string `json:"host"`
	State       string `json:"state"`
	Ports       []int  `json:"ports"`
	IPAddresses []struct {
		IPAddress string `json:"ipAddress"`
	} `json:"ipAddresses"`
	Results *[]struct {
		Alive bool `json:"alive"`
	} `json:"healthCheckResults"`

	draining bool
}

// alive tells what marathon-lb makes of the results of health checks: one good one is enough.
func (t task) alive() bool {
	if t.Results == nil {
		return false
	}
	for _, r := range *t.Results {
		if r.Alive {
			return true
		}
	}
	return false
}

// The JSON of Marathon, of all releases. What is null is as if it was not there.
type rawApp struct {
	ID        string            `json:"id"`
	Labels    map[string]string `json:"labels"`
	Instances int               `json:"instances"`
	Networks  []struct {
		Mode *string `json:"mode"`
	} `json:"networks"`
	IPAddress json.RawMessage `json:"ipAddress"`
	Container struct {
		PortMappings []rawMapping `json:"portMappings"`
		Docker       struct {
			Network      string       `json:"network"`
			PortMappings []rawMapping `json:"portMappings"`
		} `json:"docker"`
	} `json:"container"`
	PortDefinitions *[]struct {
		Port *int `json:"port"`
	} `json:"portDefinitions"`
	Ports       []int   `json:"ports"`
	Checks      []check `json:"healthChecks"`
	VersionInfo struct {
		LastScalingAt string `json:"lastScalingAt"`
	} `json:"versionInfo"`
	Tasks []task `json:"tasks"`
}

type rawIPAddress struct {
	Discovery struct {
		Ports []struct {
			Number *int `json:"number"`
		} `json:"ports"`
	} `json:"discovery"`
}

type rawMapping struct {
	ContainerPort *int `json:"containerPort"`
	ServicePort   *int `json:"servicePort"`
}

// The modes of networking.
const (
	modeHost      = "host"
	modeBridge    = "container/bridge"
	modeContainer = "container"
)

// Read reads an app as Marathon lists it, with its tasks. A field of another type than
// expected is left out.
func Read(data []byte) (App, error) {
	var r rawApp
	if err := json.Unmarshal(data, &r); err != nil {
		if _, mismatch := errors.AsType[*json.UnmarshalTypeError](err); !mismatch {
			return App{}, fmt.Errorf("definition of an app: %w", err)
		}
	}
	if r.ID == "" {
		return App{}, errors.New("definition of an app: it has no id")
	}
	app := App{
		ID: r.ID, Labels: r.Labels, noLabels: r.Labels == nil, instances: r.Instances, lastScalingAt: r.VersionInfo.LastScalingAt,
		hasChecks: len(r.Checks) > 0, checks: r.Checks, tasks: r.Tasks, mode: r.mode(),
	}
	mappings := r.Container.Docker.PortMappings
	if len(mappings) == 0 {
		mappings = r.Container.PortMappings
	}
	app.readPorts(r, mappings)
	return app, nil
}

// mode finds the mode of networking; what is more specific comes last.
func (r *rawApp) mode() string {
	mode := modeHost
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(r.IPAddress, &fields) // nothing to see if it is no object
	for _, value := range fields {
		if string(value) != "null" {
			mode = modeContainer
		}
	}
	switch r.Container.Docker.Network {
	case "USER":
		mode = modeContainer
	case "BRIDGE":
		mode = modeBridge
	}
	for _, n := range r.Networks {
		if mode = modeContainer; n.Mode != nil {
			mode = *n.Mode
		}
	}
	return mode
}

// readPorts finds the service ports, the position of which is the n of labels, and the ports
// of tasks where those do not say them.
func (a *App) readPorts(r rawApp, mappings []rawMapping) {
	var defined []int
	if r.PortDefinitions != nil {
		for _, d := range *r.PortDefinitions {
			if d.Port != nil {
				defined = append(defined, *d.Port)
			}
		}
	}
	var mapped, inContainer []int
	for _, m := range mappings {
		if m.ServicePort != nil {
			mapped = append(mapped, *m.ServicePort)
		}
		if m.ContainerPort != nil {
			inContainer = append(inContainer, *m.ContainerPort)
		}
	}
	var ip rawIPAddress
	_ = json.Unmarshal(r.IPAddress, &ip) // what is understood of it counts
	for _, p := range ip.Discovery.Ports {
		if p.Number != nil {
			a.containerPorts = append(a.containerPorts, *p.Number)
		}
	}
	if len(a.containerPorts) == 0 {
		a.containerPorts = inContainer
	}
	switch {
	case (a.mode == modeContainer || a.mode == modeBridge) && len(mapped) > 0:
		a.servicePorts = mapped
	case r.PortDefinitions != nil:
		a.servicePorts = defined
	default:
		a.servicePorts = r.Ports
	}
	a.fallbackPorts = defined
	if a.mode == modeBridge && len(defined) == 0 {
		a.fallbackPorts = inContainer
	}
}

// taskPorts are the ports of a task, in the order of the service ports.
func (a *App) taskPorts(t task) []int {
	switch {
	case a.mode != modeHost && a.mode != modeBridge:
		return a.containerPorts
	case len(t.Ports) > 0:
		return t.Ports
	}
	return a.fallbackPorts
}

// address is where a task is reached: a name or an address; empty if it is not known.
func (a *App) address(t task) string {
	if a.mode != modeContainer {
		return t.Host
	}
	if len(t.IPAddresses) == 0 {
		return ""
	}
	return t.IPAddresses[0].IPAddress
}

// check returns the health check that counts for a port; nil if there is none. One with a
// port of its own counts for all ports.
func (a *App) check(port int) *check {
	for i, c := range a.checks {
		if c.Port != 0 || c.PortIndex != nil && *c.PortIndex == port {
			return &a.checks[i]
		}
	}
	return nil
}

// underscored is how names of backends write the id of an app.
func underscored(id string) string {
	if id == "" {
		return ""
	}
	return strings.ReplaceAll(id[1:], "/", "_")
}
