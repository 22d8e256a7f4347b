package routing

import (
	"testing"

	"relay/sources"
)

// A fleet has a cluster for the app that answers ACME challenges whether or not the app is there.
func TestScalingWithoutTheACMEApp(t *testing.T) {
	f := &Fleet{Name: "external", ACMEApp: "/marathon-acme", Scaling: true}
	for name, app := range map[string]*sources.App{"no app": nil, "no port": {ID: f.ACMEApp}, "gated": {ID: f.ACMEApp, Gated: true}} {
		if may, now := f.HoldsConnections(f.ACMEApp, app, 0); may || now {
			t.Errorf("%s: connections wait", name)
		}
		if !f.HasCluster(f.ACMEApp, app, 0) {
			t.Errorf("%s: there is no cluster", name)
		}
	}
}
