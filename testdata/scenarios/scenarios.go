// Package scenarios has all scenarios.
package scenarios

import (
	"relay/testdata/scenarios/agents"
	gpstracking "relay/testdata/scenarios/gps-tracking"
	"relay/testdata/scenarios/heroku"
	"relay/testdata/scenarios/imp"
	"relay/testdata/scenarios/monitoring"
	"relay/testdata/scenarios/nurseconnect"
	"relay/testdata/scenarios/scenario"
	"relay/testdata/scenarios/whatsapp"
)

// All are the constructors of all scenarios: each run needs a new one.
var All = []func() *scenario.Scenario{heroku.New, imp.New, gpstracking.New, whatsapp.New, nurseconnect.New, agents.New, monitoring.New}
