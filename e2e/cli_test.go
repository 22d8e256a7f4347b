package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/logtest"
	"relay/xds/envoytest"
)

// command runs one that asks the Relay of the world.
func (w *world) command(args ...string) (status int, out, errs string) {
	w.t.Helper()
	return command(w.t, append(args, "--admin", w.admin.url)...)
}

// shows waits until a command shows each text, and ends with a status.
func (w *world) shows(status int, args []string, texts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("relay %q", args), func() error {
		got, out, errs := w.command(args...)
		if got != status {
			return fmt.Errorf("status %d, want %d:\n%s%s", got, status, out, errs)
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				return fmt.Errorf("no %q in:\n%s%s", text, out, errs)
			}
		}
		return nil
	})
}

// All is well: the commands say so, of a real Relay with a real Envoy, and their numbers are
// those of each other.
func TestCommandLine(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("seed.test", "shop.test")
	w.start()
	w.marathon.deploy(app("/shop/web", "shop.test", 2))
	w.clients.expect("https://shop.test/", http.StatusOK, "/shop/web")
	w.admin.settled()
	w.shows(0, []string{"status"}, "OK  ", "marathon  followed", "2 apps, 2 domains, 3 instances", "relay watch")
	w.shows(0, []string{"status", "--nagios"}, "RELAY OK - ", "envoys=1;", "envoys_up_to_date=1;", "apps=2;", "endpoints=3;", "problems_failing=0;")
	w.shows(0, []string{"apps", "--filter", "SHOP"}, "/shop/web      2 ", "shop.test")
	w.shows(0, []string{"app", "/shop/web"}, "cluster      /shop/web_0", "127.0.0.1:", "healthy", " of ")
	w.shows(0, []string{"domains"}, "seed.test  served", "shop.test  served")
	w.shows(0, []string{"domain", "shop.test"}, "shop.test: served", "serves       /* for port 0 of /shop/web", "has acknowledged")
	w.shows(0, []string{"envoys"}, "external", "up to date", "127.0.0.1")
	w.shows(0, []string{"certs"}, "/seed.test.pem", "ECDSA", "shop.test")
	w.shows(0, []string{"problems"}, "no such problem")
	for _, list := range []string{"apps", "domains", "envoys", "certs", "problems", "changes", "failures", "status"} {
		var v map[string]any
		if status, out, errs := w.command(list, "-o", "json"); status != 0 || json.Unmarshal([]byte(out), &v) != nil || errs != "" {
			t.Errorf("relay %s -o json: status %d, %s%s", list, status, out, errs)
		}
	}
	for _, flags := range []string{
		"apps -q x --sort changed --fleet external", "domains -q x --sort failures --fleet external", "envoys -q x --fleet external", "certs -q x",
		"problems /shop/web -q x --kind app --severity failing", "changes /shop/web -q x --certificate x", "failures -q x --code offline --fleet external", "failures shop.test --limit 0",
	} {
		for _, format := range []string{"table", "json", "yaml"} {
			if status, out, errs := w.command(append(strings.Fields(flags), "-o", format)...); status != 0 || errs != "" {
				t.Errorf("relay %s -o %s: status %d, %s%s", flags, format, status, out, errs)
			}
		}
	}
	var envoys api.Envoys
	_, out, _ := w.command("envoys", "-o", "json")
	if err := json.Unmarshal([]byte(out), &envoys); err != nil || len(envoys.Envoys) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	w.shows(0, []string{"envoys", envoys.Envoys[0].ID}, "external/"+envoys.Envoys[0].ID+": up to date", "clusters")
	var certificates api.Certificates
	_, out, _ = w.command("certs", "-o", "json")
	if err := json.Unmarshal([]byte(out), &certificates); err != nil || len(certificates.Certificates) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	c := certificates.Certificates[0]
	w.shows(0, []string{"certs", c.Name}, c.Source+"/"+c.Name+": ", "2: seed.test, shop.test", c.Fingerprint)
	w.shows(0, []string{"certs", c.Source + "/" + c.Name}, c.Fingerprint)
	w.shows(0, []string{"changes", "/shop/web"}, "domain shop.test added")
	w.shows(0, []string{"diff", "/shop/web"}, "endpoints /shop/web_0", "127.0.0.1")
	w.shows(0, []string{"config-dump", "external", "-o", "table"}, "Clusters", "/shop/web_0")
	w.shows(0, []string{"config-dump", "external", "--resource", "/shop/web_0", "-o", "yaml"}, "name: /shop/web_0")
	w.shows(0, []string{"__complete", "app", "/sh"}, "/shop/web\n")
	w.shows(0, []string{"__complete", "domain", "shop"}, "shop.test\n")
}

// The command that relay status names for the worst problem has the reason.
func TestCommandLineLeadsToTheReason(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("seed.test")
	w.start()
	w.marathon.deploy(app("/typo", "typo.test", 1, "HAPROXY_0_VHOSTS", "meant.test"), app("/owner", "taken.test", 1), app("/wanter", "taken.test", 1))
	w.shows(0, []string{"app", "/typo"}, "HAPROXY_0_VHOSTS: is not a known label: did you mean HAPROXY_0_VHOST?")
	w.shows(0, []string{"problems"}, "did you mean HAPROXY_0_VHOST?", "To do: ", "relay app /typo")
	w.shows(1, []string{"status"}, "/wanter: taken.test", "port 0 of /owner has it")
	_, out, _ := w.command("status")
	_, next, found := strings.Cut(out, "\nNext\n")
	command := strings.Fields(next)
	if !found || len(command) < 3 {
		t.Fatalf("relay status names no command:\n%s", out)
	}
	if _, out, errs := w.command(command[1:3]...); !strings.Contains(out, "failing") {
		t.Errorf("relay %s, which relay status names, shows nothing that fails:\n%s%s", command[1:3], out, errs)
	}
}

// What concerns all domains is on the first screen: an Envoy that rejects, Envoys that have
// left, a Marathon that is away.
func TestCommandLineSaysWhatConcernsAll(t *testing.T) {
	w := newWorld(t)
	taken, err := net.Listen("tcp", w.clients.http)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	w.relay.start()
	envoy := envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, NodeID: "edge-1"})
	w.shows(1, []string{"status"}, "WARNING  ", "Envoy edge-1 rejects listeners http", "relay envoys external/edge-1")
	w.shows(0, []string{"envoys", "external/edge-1"}, "rejecting", "cannot bind", "Address already in use")
	w.shows(1, []string{"status", "--nagios"}, "RELAY WARNING - ", "envoys_rejecting=1;")
	envoy.Stop()
	w.shows(1, []string{"status"}, "CRITICAL  ", "Fleet external: no Envoy is connected any more")
	w.shows(0, []string{"envoys"}, "edge-1", "disconnected")
	w.marathon.away()
	w.marathon.CutStreams()
	w.shows(2, []string{"status", "--nagios"}, "RELAY CRITICAL - ", "Apps cannot be read from marathon")
	w.shows(1, []string{"status"}, "not followed")
}

// relay watch shows a change of a real Relay as it comes, outlives a restart of Relay, and ends
// well when it is interrupted.
func TestCommandLineWatches(t *testing.T) {
	w := newWorld(t)
	w.relay.config.Admin.Address = freeAddress(t)
	w.relay.start()
	var out, errs logtest.Buffer
	watch := exec.Command(program.path(t), "watch", "--admin", w.admin.url)
	watch.Env = append(os.Environ(), "XDG_CONFIG_HOME=/nowhere")
	watch.Stdout, watch.Stderr = &out, &errs
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- watch.Wait() }()
	defer func() { _ = watch.Process.Kill() }()
	sees := func(text string) {
		t.Helper()
		w.eventually("relay watch shows "+text, func() error {
			if !strings.Contains(out.String()+errs.String(), text) {
				return fmt.Errorf("it shows\n%s%s", out.String(), errs.String())
			}
			return nil
		})
	}
	changes := func(id string) { // until one is seen: the stream may be opened later
		t.Helper()
		n := 0
		w.eventually("a change of "+id+" is seen", func() error {
			n++
			w.marathon.deploy(app(id, fmt.Sprintf("%s-%d.test", strings.Trim(id, "/"), n), 1))
			if !strings.Contains(out.String(), "domain "+strings.Trim(id, "/")+"-") {
				return fmt.Errorf("relay watch shows\n%s%s", out.String(), errs.String())
			}
			return nil
		})
	}
	changes("/watched")
	sees("change   external revision ")
	w.relay.stop()
	sees("next try in")
	w.relay.start()
	changes("/later")
	if err := watch.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v\n%s%s", err, out.String(), errs.String())
		}
	case <-time.After(patience):
		t.Error("it does not end")
	}
}
