package marathontest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Quirks are the ways in which older releases differ from 1.8.
type Quirks struct {
	// WriteNulls shows absent fields as null (1.4 and before).
	WriteNulls bool
	// NoNetworks shows ipAddress, ports, container.docker.network and
	// container.docker.portMappings in place of networks (before 1.5).
	NoNetworks bool
	// NoTaskState leaves out the state of tasks (very old releases).
	NoTaskState bool
	// IgnoreEventTypes sends all events whatever is asked for (before 1.3.7).
	IgnoreEventTypes bool
	// HeavyPlans adds the groups before and after to the plan of a deployment,
	// and makes them so many bytes long at least (before 1.6).
	HeavyPlans int
	// DropSilently loses events for a client that has too many waiting, in
	// place of closing its stream (before 1.8).
	DropSilently bool
	// Outstanding is how many events may wait for one client; 1024 by default,
	// 50 in early releases.
	Outstanding int
	// ProxyEvents has a standby pass event streams on (1.6 and before) in
	// place of answering 302.
	ProxyEvents bool
	// TaskLost makes LoseAgent end a task with TASK_LOST and start another
	// (before 1.4), in place of TASK_UNREACHABLE.
	TaskLost bool
	// NoInstances leaves out instance events, and shows task ids without
	// instance (before 1.4).
	NoInstances bool
	// NoIncarnation shows task ids that are new after each restart, with
	// nothing at the end that counts (before 1.8).
	NoIncarnation bool
	// NoPods answers 404 to everything below /v2/pods (before 1.4).
	NoPods bool
}

// QuirksOf returns the quirks of a release, such as "1.4.11"; "" has none.
func QuirksOf(version string) Quirks {
	before := func(than string) bool { return version != "" && compareVersions(version, than) < 0 }
	q := Quirks{
		WriteNulls: before("1.5"), NoNetworks: before("1.5"), IgnoreEventTypes: before("1.3.7"),
		DropSilently: before("1.8"), ProxyEvents: before("1.7"), TaskLost: before("1.4"),
		NoInstances: before("1.4"), NoIncarnation: before("1.8"), NoPods: before("1.4"),
	}
	if before("1.6") {
		q.HeavyPlans = 1
	}
	if before("1.3") {
		q.Outstanding = 50
	}
	return q
}

func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		if c := cmp.Compare(part(x, i), part(y, i)); c != 0 {
			return c
		}
	}
	return 0
}

func part(version []string, i int) int {
	if i >= len(version) {
		return 0
	}
	n, _ := strconv.Atoi(version[i])
	return n
}

// taskID is the id of the n-th task of an instance.
func (q Quirks) taskID(instance string, n int) string {
	switch {
	case q.NoInstances:
		return fmt.Sprintf("%s%02x", strings.Replace(instance, ".instance-", ".", 1), n)
	case q.NoIncarnation && n > 1:
		return fmt.Sprintf("%s-%02x._app", instance, n)
	case q.NoIncarnation:
		return instance + "._app"
	}
	return fmt.Sprintf("%s._app.%d", instance, n)
}

// reshapes tells whether apps are shown in another form.
func (q Quirks) reshapes() bool { return q.WriteNulls || q.NoNetworks || q.NoTaskState }

// reshape brings the JSON of an app into the form of the release.
func (q Quirks) reshape(data []byte) []byte {
	var app map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&app) != nil || app == nil {
		return data
	}
	if q.NoNetworks {
		withoutNetworks(app)
	}
	if q.WriteNulls {
		for _, key := range []string{"cmd", "args", "user", "container", "ipAddress", "residency", "taskKillGracePeriodSeconds", "versionInfo", "healthChecks", "readinessChecks", "labels"} {
			if _, ok := app[key]; !ok {
				app[key] = nil
			}
		}
	}
	tasks, _ := app["tasks"].([]any)
	for _, t := range tasks {
		task, _ := t.(map[string]any)
		if q.NoTaskState {
			delete(task, "state")
		}
		for _, key := range []string{"stagedAt", "startedAt", "version", "healthCheckResults", "ipAddresses"} {
			if _, ok := task[key]; !ok && q.WriteNulls {
				task[key] = nil
			}
		}
	}
	data, err := json.Marshal(app)
	if err != nil {
		panic(err) // it came from JSON
	}
	return data
}

// withoutNetworks gives an app the fields that networks has replaced.
func withoutNetworks(app map[string]any) {
	networks, _ := app["networks"].([]any)
	delete(app, "networks")
	mode, name := "host", any(nil)
	if len(networks) > 0 {
		first, _ := networks[0].(map[string]any)
		mode, name = defaultTo(text(first["mode"]), "container"), first["name"]
	}
	container, _ := app["container"].(map[string]any)
	mappings, _ := container["portMappings"].([]any)
	delete(container, "portMappings")
	docker, _ := container["docker"].(map[string]any)
	if docker == nil && mode == "container/bridge" {
		docker = map[string]any{"image": "busybox"}
		container["docker"] = docker
	}
	if docker != nil {
		docker["network"] = map[string]string{"host": "HOST", "container/bridge": "BRIDGE", "container": "USER"}[mode]
		if mode != "host" {
			docker["portMappings"] = mappings
		}
	}
	var ports []any
	switch mode {
	case "host":
		defs, _ := app["portDefinitions"].([]any)
		for _, d := range defs {
			def, _ := d.(map[string]any)
			ports = append(ports, def["port"])
		}
	case "container/bridge":
		var defs []any
		for _, m := range mappings {
			mapping, _ := m.(map[string]any)
			ports = append(ports, mapping["servicePort"])
			defs = append(defs, map[string]any{"port": mapping["servicePort"], "protocol": "tcp", "labels": map[string]any{}})
		}
		app["portDefinitions"] = defs
	case "container":
		app["ipAddress"] = map[string]any{"groups": []any{}, "labels": map[string]any{}, "discovery": discovery(docker, mappings), "networkName": name}
	}
	app["ports"] = append([]any{}, ports...)
}

// discovery lists the ports of an app with an address of its own, where no Docker container does.
func discovery(docker map[string]any, mappings []any) map[string]any {
	ports := []any{}
	for _, m := range mappings {
		if mapping, _ := m.(map[string]any); docker == nil {
			ports = append(ports, map[string]any{"number": mapping["containerPort"], "name": mapping["name"], "protocol": "tcp"})
		}
	}
	return map[string]any{"ports": ports}
}
