package main

import (
	"strings"
	"testing"

	"relay/sources/labels/traefik"
)

// Labels of Traefik are read if somebody asks for it, and with what is in Traefik's own configuration.
func TestLabelFlags(t *testing.T) {
	t.Parallel()
	flags, err := parse(t, "marathon: http://m\n")
	if err != nil || flags.config().Apps.Marathon.Traefik != nil {
		t.Errorf("read by default: %v", err)
	}
	flags, err = parse(t, "marathon: http://m\nlabels: [marathon-lb, traefik]\n", "--traefik-exposed-by-default=false")
	if err != nil {
		t.Fatal(err)
	}
	if o := flags.config().Apps.Marathon.Traefik; o == nil || o.EntryPoints["websecure"] != (traefik.EntryPoint{Fleet: "external", Scheme: "https"}) || o.ExposedByDefault || o.DefaultRule != nil || o.Constraints != nil {
		t.Errorf("got %+v", o)
	}
	fleets := "marathon: http://m\nlabels: [marathon-lb, traefik]\nfleets:\n- {name: a, http: '1.1.1.1:80'}\n- {name: b, http: '1.1.1.2:80'}\n"
	flags, err = parse(t, fleets, "--traefik-entry-points=Web=a/http inner=b/http", "--traefik-default-entry-points=WEB", "--traefik-constraints=Label(`a`, `b`)", "--traefik-default-rule=Host(`{{ normalize .Name }}.test`)")
	if err != nil {
		t.Fatal(err)
	}
	if o := flags.config().Apps.Marathon.Traefik; o.EntryPoints["web"].Fleet != "a" || o.DefaultEntryPoints[0] != "web" || o.DefaultRule == nil || o.Constraints == nil {
		t.Errorf("got %+v", o)
	}
	for text, want := range map[string]string{
		"--labels=traefik": "marathon-lb has to be among them", "--labels=marathon-lb,nginx": "is none of marathon-lb and traefik",
		"--labels=marathon-lb,traefik --traefik-entry-points=web=none/http":    "names no fleet",
		"--labels=marathon-lb,traefik --traefik-default-entry-points=none":     "is no entry point",
		"--labels=marathon-lb,traefik --traefik-default-rule={{":               "--traefik-default-rule",
		"--labels=marathon-lb,traefik --traefik-constraints=Tag(`a`)":          "--traefik-constraints",
		"--labels=marathon-lb,traefik --traefik-default-rule={{ none .Name }}": "none",
	} {
		if _, err := parse(t, "marathon: http://m\n", strings.SplitN(text, " ", 2)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
	if _, err := parse(t, fleets); err == nil || !strings.Contains(err.Error(), "--traefik-entry-points") {
		t.Errorf("several fleets: %v", err)
	}
}
