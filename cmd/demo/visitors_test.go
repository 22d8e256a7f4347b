package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"relay/admin/api"
)

// Within the first minute the page of a demo has traffic, failures and a change to show, and all
// of that ends when it is switched off.
func TestVisitors(t *testing.T) {
	t.Parallel()
	p := launch(t, nil)
	p.ready()
	read := func(path string, into any) error {
		return json.Unmarshal([]byte(p.get("admin", path)), into)
	}
	eventually(t, "traffic, failures and a change", func() error {
		var status api.Status
		var changes api.Changes
		if err := read("/api/v1/status", &status); err != nil {
			return err
		}
		if err := read("/api/v1/changes?app=/news", &changes); err != nil {
			return err
		}
		fleet := status.Fleets[0]
		if fleet.Load == nil || fleet.Load.Requests == 0 || fleet.Failures == nil || *fleet.Failures == 0 {
			return fmt.Errorf("the load is %+v, failures %v", fleet.Load, fleet.Failures)
		}
		if len(changes.Changes) < 2 || !strings.Contains(changes.Changes[0].Cause, "news") {
			return fmt.Errorf("the changes of /news are %+v", changes.Changes)
		}
		return nil
	})
	for _, code := range []string{"offline", "no-such-domain"} {
		eventually(t, code, func() error {
			var failures api.Failures
			if err := read("/api/v1/failures?code="+code, &failures); err != nil || len(failures.Failures) == 0 {
				return fmt.Errorf("none: %v", err)
			}
			return nil
		})
	}
	p.post("off")
	eventually(t, "the end of the traffic", func() error {
		var status api.Status
		if err := read("/api/v1/status", &status); err != nil {
			return err
		}
		// The rates are over a minute, the points of the chart over ten seconds.
		points := status.Series.Requests
		for len(points) > 0 && !points[len(points)-1].Known() {
			points = points[:len(points)-1]
		}
		if len(points) == 0 || points[len(points)-1] > 0 {
			return fmt.Errorf("the last points are %v", points[max(0, len(points)-5):])
		}
		return nil
	})
}
