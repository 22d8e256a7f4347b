// Package scenarios has all scenarios.
package scenarios

import (
	gpstracking "relay/testdata/scenarios/gps-tracking"
	"relay/testdata/scenarios/heroku"
	"relay/testdata/scenarios/nurseconnect"
	"relay/testdata/scenarios/scenario"
	"relay/testdata/scenarios/whatsapp"
)

// All are the constructors of all scenarios: each run needs a new one.
var All = []func() *scenario.Scenario{gpstracking.New, whatsapp.New, nurseconnect.New, heroku.New}
