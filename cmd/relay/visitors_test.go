package main

import (
	"strings"
	"testing"

	"relay/collator/routing"
)

// Pages are of a fleet, and the clients that do not count are of all.
func TestVisitorFlags(t *testing.T) {
	t.Parallel()
	flags, err := parse(t, "marathon: http://m\nscaling: true\nerror-pages: /pages\nidle-ignore: [UptimeRobot, 10.0.0.0/8]\n")
	if err != nil {
		t.Fatal(err)
	}
	config := flags.config()
	if clients := config.Scaling.Ignored; config.Fleets[0].ErrorPagesDir != "/pages" || len(clients.Networks) != 1 || len(clients.UserAgents) != 1 {
		t.Errorf("got %+v", config)
	}
	flags, err = parse(t, "marathon: http://m\nfleets:\n- {name: a, http: '1.1.1.1:80', error-pages: /a, extended-connect: true, access-log: file /var/log/a.json, rate-limit-service: 'rl.test:8081'}\n- {name: b, http: '1.1.1.2:80'}\n")
	if err != nil {
		t.Fatal(err)
	}
	if fleets := flags.config().Fleets; fleets[0].ErrorPagesDir != "/a" || fleets[1].ErrorPagesDir != "" ||
		!fleets[0].ExtendedConnect || fleets[1].ExtendedConnect || fleets[0].AccessLog.File != "/var/log/a.json" || fleets[1].AccessLog != (routing.AccessLog{}) ||
		fleets[0].RateLimitService != "rl.test:8081" || fleets[1].RateLimitService != "" {
		t.Errorf("got %+v", fleets)
	}
	for text, want := range map[string]routing.AccessLog{"access-log: off\n": {}, "access-log: collector\n": {Collector: true}} {
		if flags, err := parse(t, "marathon: http://m\n"+text); err != nil || flags.config().Fleets[0].AccessLog != want {
			t.Errorf("%s: %v, %+v", text, err, flags)
		}
	}
	for args, want := range map[string]string{
		"--scaling --idle-ignore=10.0.0.0/33": `--idle-ignore: "10.0.0.0/33" is no network`,
		"--access-log=file":                   `fleet "external" has access-log: file: the file needs an absolute path`,
		"--access-log=on":                     `fleet "external" has access-log: on: use off, file PATH or collector`,
		"--idle-ignore=10.0.0.0/8":            "--idle-ignore has an effect with --scaling only",
	} {
		if _, err := parse(t, "marathon: http://m\n", strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", args, err, want)
		}
	}
}
