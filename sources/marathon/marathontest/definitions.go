package marathontest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// definition is one version of an app definition. It is never modified.
type definition struct {
	// json is the object that the API shows, without tasks, counts and deployments.
	json []byte
	spec
	// config is the version of the last change other than scaling.
	config string
}

// spec is what the simulation itself needs of a definition.
type spec struct {
	ID          string            `json:"id"`
	Instances   *int              `json:"instances"`
	Version     string            `json:"version"`
	Labels      map[string]string `json:"labels"`
	VersionInfo *versionInfo      `json:"versionInfo"`
	Networks    []struct {
		Mode string `json:"mode"`
	} `json:"networks"`
	PortDefinitions []json.RawMessage `json:"portDefinitions"`
	Container       *struct {
		PortMappings []struct {
			ContainerPort int  `json:"containerPort"`
			HostPort      *int `json:"hostPort"`
		} `json:"portMappings"`
	} `json:"container"`
	HealthChecks    []json.RawMessage `json:"healthChecks"`
	ReadinessChecks []json.RawMessage `json:"readinessChecks"`
	KillSelection   string            `json:"killSelection"`
	// The delay before another task follows one that failed.
	BackoffSeconds        float64 `json:"backoffSeconds"`
	BackoffFactor         float64 `json:"backoffFactor"`
	MaxLaunchDelaySeconds float64 `json:"maxLaunchDelaySeconds"`
	// How long a Program may go on after it was told to stop.
	KillGraceSeconds *float64 `json:"taskKillGracePeriodSeconds"`
	Env              struct {
		// Page is what the app's tasks answer with, in place of what they know of the request.
		Page string `json:"PAGE"`
		// Boot and CrashAfter are durations, such as "500ms": see Server.SetBoot and
		// Server.SetCrashLoop.
		Boot       string `json:"BOOT"`
		CrashAfter string `json:"CRASH_AFTER"`
	} `json:"env"`
}

type versionInfo struct {
	LastScalingAt      string `json:"lastScalingAt"`
	LastConfigChangeAt string `json:"lastConfigChangeAt"`
}

func (d *definition) mode() string {
	if len(d.Networks) == 0 {
		return "host"
	}
	return defaultTo(d.Networks[0].Mode, "container")
}

// hostPorts is how many host ports a task gets.
func (d *definition) hostPorts() int {
	if d.mode() == "host" || d.Container == nil {
		return len(d.PortDefinitions)
	}
	n := 0
	for _, m := range d.Container.PortMappings {
		if m.HostPort != nil {
			n++
		}
	}
	return n
}

// containerPorts are the ports at a task's own IP address.
func (d *definition) containerPorts() []int {
	if d.mode() != "container" || d.Container == nil {
		return nil
	}
	var ports []int
	for _, m := range d.Container.PortMappings {
		if m.HostPort == nil && m.ContainerPort != 0 {
			ports = append(ports, m.ContainerPort)
		}
	}
	return ports
}

func parseDefinition(data []byte) (*definition, error) {
	d := &definition{json: bytes.TrimSpace(data)}
	if err := json.Unmarshal(data, &d.spec); err != nil {
		return nil, fmt.Errorf("app definition: %w", err)
	}
	if d.ID == "" {
		return nil, errors.New("app definition: no id")
	}
	if d.Instances == nil || *d.Instances < 0 {
		return nil, fmt.Errorf("app definition %s: instances must be 0 or more", d.ID)
	}
	d.config = d.Version
	if d.VersionInfo != nil {
		d.config = d.VersionInfo.LastConfigChangeAt
	}
	return d, nil
}

var validID = regexp.MustCompile(`^(/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)+$`)

// update merges fields into old (nil for a new app) and gives the result the
// version. A result equal to old is old itself, unless restart is true.
func update(id string, old *definition, fields map[string]any, version string, restart bool, nextPort func() int) (*definition, error) {
	if !validID.MatchString(id) {
		return nil, fmt.Errorf("%q is not a valid app id", id)
	}
	merged := map[string]any{}
	var before []byte
	if old != nil {
		if err := json.Unmarshal(old.json, &merged); err != nil {
			return nil, err
		}
		normalise(merged, nextPort) // a loaded definition may lack what follows from defaults
		before, _ = json.Marshal(merged)
	}
	maps.Copy(merged, fields)
	merged["id"] = id
	normalise(merged, nextPort)
	if old != nil {
		scaled, changed, err := differ(before, merged)
		switch {
		case err != nil:
			return nil, err
		case restart || changed:
			merged["versionInfo"] = versionInfo{version, version}
		case scaled:
			merged["versionInfo"] = versionInfo{version, old.config}
		default:
			return old, nil
		}
	}
	merged["version"] = version
	data, err := json.Marshal(merged)
	if err != nil {
		return nil, err
	}
	return parseDefinition(data)
}

// differ tells whether the number of instances changed, and whether the rest did.
func differ(before []byte, merged map[string]any) (scaled, changed bool, err error) {
	was := map[string]any{}
	if err := json.Unmarshal(before, &was); err != nil {
		return false, false, err
	}
	is := maps.Clone(merged)
	scaled = fmt.Sprint(was["instances"]) != fmt.Sprint(is["instances"])
	delete(was, "instances")
	delete(is, "instances")
	a, err := json.Marshal(was)
	if err != nil {
		return false, false, err
	}
	b, err := json.Marshal(is)
	return scaled, !bytes.Equal(a, b), err
}

// shownOnly are the fields of an answer that are not part of a definition.
var shownOnly = []string{"version", "versionInfo", "tasks", "deployments", "tasksRunning", "tasksStaged", "tasksHealthy", "tasksUnhealthy"}

// normalise brings an app definition into the form that Marathon 1.5 and later
// shows: networks instead of container.docker.network and ports, defaults, and
// service ports assigned. A null is the same as an absent field.
func normalise(app map[string]any, nextPort func() int) {
	maps.DeleteFunc(app, func(k string, v any) bool { return v == nil || slices.Contains(shownOnly, k) })
	setDefaults(app, map[string]any{
		"instances": 1, "cpus": 1, "mem": 128, "disk": 0, "gpus": 0, "executor": "", "requirePorts": false,
		"backoffSeconds": 1, "backoffFactor": 1.15, "maxLaunchDelaySeconds": 300, "labels": map[string]any{},
		"killSelection": "YOUNGEST_FIRST", "role": "*",
		"upgradeStrategy":     map[string]any{"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
		"unreachableStrategy": map[string]any{"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
	})
	container, _ := app["container"].(map[string]any)
	if docker, ok := container["docker"].(map[string]any); ok {
		modes := map[string]string{"BRIDGE": "container/bridge", "USER": "container", "HOST": "host"}
		if mode := modes[text(docker["network"])]; mode != "" {
			setDefaults(app, map[string]any{"networks": []any{map[string]any{"mode": mode}}})
		}
		if mappings, ok := docker["portMappings"].([]any); ok {
			setDefaults(container, map[string]any{"portMappings": mappings})
		}
		delete(docker, "network")
		delete(docker, "portMappings")
	}
	setDefaults(app, map[string]any{"networks": []any{map[string]any{"mode": "host"}}})
	if ports, ok := app["ports"].([]any); ok {
		var defs []any
		for _, p := range ports {
			defs = append(defs, map[string]any{"port": p})
		}
		setDefaults(app, map[string]any{"portDefinitions": defs})
	}
	delete(app, "ports")
	networks, _ := app["networks"].([]any)
	mode := "host"
	if len(networks) > 0 {
		first, _ := networks[0].(map[string]any)
		mode = defaultTo(text(first["mode"]), "container")
	}
	if mode == "host" {
		setDefaults(app, map[string]any{"portDefinitions": []any{map[string]any{"name": "default"}}})
		complete(app["portDefinitions"], "port", map[string]any{"protocol": "tcp", "labels": map[string]any{}}, nextPort)
		return
	}
	delete(app, "portDefinitions")
	if container == nil {
		container = map[string]any{"type": "MESOS"}
		app["container"] = container
	}
	defaults := map[string]any{"containerPort": 0, "protocol": "tcp", "labels": map[string]any{}}
	if mode == "container/bridge" {
		defaults["hostPort"] = 0
	}
	if container["portMappings"] == nil {
		container["portMappings"] = []any{map[string]any{"name": "default"}}
	}
	complete(container["portMappings"], "servicePort", defaults, nextPort)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func setDefaults(m, defaults map[string]any) {
	for k, v := range defaults {
		if m[k] == nil {
			m[k] = v
		}
	}
}

// complete sets defaults in each port of the list, and a service port where
// there is none.
func complete(list any, servicePort string, defaults map[string]any, nextPort func() int) {
	ports, _ := list.([]any)
	for _, p := range ports {
		port, ok := p.(map[string]any)
		if !ok {
			continue
		}
		own := maps.Clone(defaults)
		if slices.Contains([]any{nil, 0, float64(0)}, port[servicePort]) {
			own[servicePort] = nextPort()
			delete(port, servicePort)
		}
		setDefaults(port, own)
	}
}
