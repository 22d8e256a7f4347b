package main

import (
	"time"

	"relay/admin/api"
)

// fakeDeployment is a deployment group of which one app takes over from the other.
func fakeDeployment() api.Deployment {
	return api.Deployment{
		Group: "imp", State: "5f2c", To: "/imp-green", From: []string{"/imp-blue"}, Target: 3,
		Apps: []api.DeploymentApp{
			{
				ID: "/imp-blue", Version: "2026-11-01T10:00:00.000Z", StartedAt: before(700 * time.Hour), Instances: 2, Draining: 2,
				Tasks: []api.DeploymentTask{
					{Task: "imp-blue.1", Address: "10.0.0.7:31001", Health: "draining", Connections: pointer(412)},
					{Task: "imp-blue.2", Address: "10.0.0.8:31001", Health: "draining", Waiting: "Envoys have yet to report its connections"},
				},
			},
			{
				ID: "/imp-green", Version: "2026-11-30T11:00:00.000Z", StartedAt: before(time.Hour), Instances: 2, Healthy: 2, Out: 1, Connections: pointer(588),
				Tasks: []api.DeploymentTask{
					{Task: "imp-green.1", Address: "10.0.0.7:31002", Health: "healthy", Connections: pointer(300)},
					{Task: "imp-green.2", Address: "10.0.0.8:31002", Health: "healthy", Connections: pointer(288)},
				},
			},
		},
		Next:    []api.DeploymentChange{{App: "/imp-green", From: 2, To: 3, Why: "it takes over from /imp-blue, and shall have 3 in the end"}},
		Waiting: []string{"imp-blue.1 of /imp-blue has 412 connections"},
		Events: []api.DeploymentEvent{
			{Time: before(time.Minute), Kind: "changed", Text: "/imp-blue gets 2 instances in place of 3: /imp-green took over, and no connection is left; stopped: imp-blue.3"},
			{Time: before(time.Hour), Kind: "advance", Text: "people have /imp-green take over from /imp-blue"},
		},
	}
}

// fakeStep is the answer to a step of it.
func fakeStep() api.DeploymentStep {
	d := fakeDeployment()
	made := d.Next
	d.Next, d.Apps[1].Instances, d.State = nil, 3, "5f2d"
	return api.DeploymentStep{Made: made, Deployment: d}
}
