package main

import (
	"strings"
	"testing"
)

func TestVisitorFlags(t *testing.T) {
	t.Parallel()
	flags, err := parse(t, "marathon: http://m\nerror-pages: /pages\nidle-ignore: [UptimeRobot, 10.0.0.0/8]\n")
	if err != nil {
		t.Fatal(err)
	}
	fleet := flags.config().Fleets[0]
	if fleet.ErrorPagesDir != "/pages" || len(fleet.IgnoredClients.Networks) != 1 || len(fleet.IgnoredClients.UserAgents) != 1 {
		t.Errorf("got %+v", fleet)
	}
	flags, err = parse(t, "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', error-pages: /a, idle-ignore: [kube-probe/]}\n- {name: b, http: '1.1.1.2:80'}\n")
	if err != nil {
		t.Fatal(err)
	}
	fleets := flags.config().Fleets
	if fleets[0].ErrorPagesDir != "/a" || len(fleets[0].IgnoredClients.UserAgents) != 1 || fleets[1].ErrorPagesDir != "" || !fleets[1].IgnoredClients.None() {
		t.Errorf("got %+v", fleets)
	}
	if _, err := parse(t, "marathon: http://m\n", "--idle-ignore", "10.0.0.0/33"); err == nil || !strings.Contains(err.Error(), `fleet "external" has idle-ignore that is no client: "10.0.0.0/33" is no network`) {
		t.Errorf("error %v", err)
	}
}
