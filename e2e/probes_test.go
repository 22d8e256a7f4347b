package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/admin/api"
	"relay/collator/routing"
	"relay/internal/relay"
	"relay/internal/state"
	"relay/xds/envoytest"
)

// probedWorld has an Envoy of the fleet external, and one of the fleet internal. Each has an app that says how it is asked, and the
// admin endpoint wants a token. It returns the second Envoy.
func probedWorld(t *testing.T) (*world, *envoytest.Envoy) {
	t.Helper()
	w := newWorld(t)
	w.relay.config.Admin.TokenFile = writeFile(t, "token", "s3cret-token")
	inner := routing.Fleet{Name: "internal", HTTP: netip.MustParseAddrPort(freeAddress(t)), Options: routing.DefaultOptions()}
	w.relay.config.Fleets = append(w.relay.config.Fleets, relay.Fleet{Fleet: inner})
	w.relay.fleet = &w.relay.config.Fleets[0]
	w.certs.issue("shop.test")
	w.marathon.deploy(
		app("/shop", "shop.test,*.shop.test", 1, "RELAY_0_PROBE", "/health 200 within 5s", "RELAY_OWNER", "team-shop"),
		app("/inner", "inner.test", 1, "HAPROXY_GROUP", "internal", "RELAY_0_PROBE", "/"))
	w.start()
	second := envoytest.Start(t, envoytest.Options{NodeID: "inner-1", Fleet: "internal", XDS: []string{w.relay.config.XDS.Address}})
	w.admin.streams(2)
	w.admin.settled()
	return w, second
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// probeFile has the settings of probes, with the authority of the tests.
func (w *world) probeFile(more string) string {
	w.t.Helper()
	ca := writeFile(w.t, "ca.pem", string(w.certs.ca.RootPEM()))
	return writeFile(w.t, "probes.yaml", "place: frankfurt\ninterval: 5s\ntimeout: 3s\nca-file: "+ca+"\n"+more)
}

// relay probe --once says what fails through which Envoy, and where Relay explains it.
func TestProbeOnce(t *testing.T) {
	w, second := probedWorld(t)
	args := []string{"probe", "--once", "--relay", w.admin.url, "--token-file", w.relay.config.Admin.TokenFile, "--probe-file", w.probeFile("sample: {domains: 5}\n")}
	w.eventually("all succeeds", func() error {
		if status, out, errs := command(t, args...); status != 0 || errs != "" || !strings.Contains(out, "from frankfurt: 3 succeeded, 0 failed, 0 were not asked") {
			return fmt.Errorf("%d: %s%s", status, out, errs)
		}
		return nil
	})
	second.Kill()
	w.admin.streams(1)
	status, out, errs := command(t, args...)
	for _, want := range []string{"failed inner.test (http) through internal/inner-1", "connect: the connection was refused", "why: relay domain inner.test --admin " + w.admin.url, "2 succeeded, 1 failed"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if status != 1 || errs != "" || strings.Contains(out, "shop.test") {
		t.Errorf("ends with %d, %q", status, errs)
	}
	var found api.Probes
	if status, out, _ = command(t, append(args, "-o", "json")...); status != 1 || json.Unmarshal([]byte(out), &found) != nil {
		t.Fatalf("%d: %s", status, out)
	}
	one := found.Probes[0]
	if one.ID != "internal/inner-1/inner.test" || one.Success || len(found.Probes) != 3 || one.Explain == "" || len(one.Steps) == 0 {
		t.Errorf("%+v", found)
	}
	shop := found.Probes[slices.IndexFunc(found.Probes, func(p api.Probe) bool { return p.Name == "shop.test" })]
	if !shop.Success || shop.Owner != "team-shop" || shop.App != "/shop" || shop.Sampled || shop.Status != 200 {
		t.Errorf("%+v", shop)
	}
	if !slices.ContainsFunc(found.Probes, func(p api.Probe) bool { return p.Name == "seed.test" && p.Sampled }) {
		t.Errorf("no domain was chosen by chance: %+v", found.Probes)
	}

	// A token that is wrong, a Relay that is away, nothing to ask.
	args[5] = writeFile(t, "wrong", "wr0ng")
	if status, _, errs := command(t, args...); status != 1 || !strings.Contains(errs, "token") || strings.Contains(errs, "wr0ng") {
		t.Errorf("with a wrong token %d: %s", status, errs)
	}
	if status, _, errs := command(t, "probe", "--once", "--relay", "http://"+freeAddress(t)); status != 3 || !strings.Contains(errs, "refused") {
		t.Errorf("without a Relay %d: %s", status, errs)
	}
	args[5] = w.relay.config.Admin.TokenFile
	if status, _, errs := command(t, append(args, "--probe-file", writeFile(t, "none.yaml", "fleets: [none]"))...); status != 1 || !strings.Contains(errs, "nothing to ask") {
		t.Errorf("without anything to ask %d: %s", status, errs)
	}
	if status, _, errs := command(t, append(args, "--probe-file", writeFile(t, "bad.yaml", "intervall: 3s"))...); status != 2 || !strings.Contains(errs, "intervall") {
		t.Errorf("with a mistake in the settings %d: %s", status, errs)
	}
}

// runningProbe is relay probe as a process of its own.
type runningProbe struct {
	t   *testing.T
	url string
}

func startProbe(t *testing.T, args ...string) *runningProbe {
	t.Helper()
	address := freeAddress(t)
	cmd := exec.Command(program.path(t), append([]string{"probe", "--listen", address}, args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("relay probe: %v\n%s", err, log.String())
		}
	})
	return &runningProbe{t, "http://" + address}
}

// found reads what was found last.
func (p *runningProbe) found() (found api.Probes, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(p.url + "/api/v1/probes")
	if err != nil {
		return found, err
	}
	defer response.Body.Close()
	return found, json.NewDecoder(response.Body).Decode(&found)
}

// awaits waits for a probe to be as it should.
func (p *runningProbe) awaits(name string, is func(api.Probe) bool) {
	p.t.Helper()
	eventually(p.t, name, func() error {
		found, err := p.found()
		if err != nil {
			return err
		}
		for _, one := range found.Probes {
			if one.Name == name && is(one) {
				return nil
			}
		}
		return fmt.Errorf("%+v", found)
	})
}

func succeeds(p api.Probe) bool { return p.Success }

// While Relay is away, what it said last is asked: Envoys serve on, and one that ends is seen.
func TestProbeOutlivesRelay(t *testing.T) {
	w, second := probedWorld(t)
	probes := startProbe(t, "--relay", w.admin.url, "--token-file", w.relay.config.Admin.TokenFile, "--probe-file", w.probeFile(""))
	probes.awaits("shop.test", succeeds)
	probes.awaits("inner.test", succeeds)
	w.relay.stop()
	second.Kill()
	killed := time.Now()
	probes.awaits("inner.test", func(p api.Probe) bool { return !p.Success && strings.Contains(p.Reason, "refused") })
	probes.awaits("shop.test", func(p api.Probe) bool { return p.Success && p.Time.After(killed) })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{
		"/metrics":         `relay_probe_envoy_up{envoy="inner-1",fleet="internal"} 0`,
		"/healthz":         "ok",
		"/api/v1/probes":   `"place": "frankfurt"`,
		"/api/v1/apps":     "nothing at /api/v1/apps",
		"/api/v1/explain":  "nothing at",
		"/_mlb_signal/hup": "404",
	} {
		eventually(t, path, func() error {
			response, err := client.Get(probes.url + path)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || !strings.Contains(string(body), want) {
				return errors.New(path + " has no " + want)
			}
			return nil
		})
	}
}

// An Envoy that is down when Relay is started anew is missed as before, by Relay's own probes and by those who ask it what to ask.
func TestEnvoyDownAtARestart(t *testing.T) {
	w, second := probedWorld(t)
	w.relay.stop()
	w.relay.keepState(true)
	w.relay.config.Probes.Enabled, w.relay.config.Probes.File = true, w.probeFile("")
	w.relay.start()
	w.probeIs("inner.test", succeeds)
	key, err := os.ReadFile(w.relay.config.State.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	file := state.File{Path: filepath.Join(w.relay.config.State.Dir, "envoys.state"), Content: "envoys"}
	if file.Key, err = state.ParseKey(key); err != nil {
		t.Fatal(err)
	}
	w.eventually("the Envoys are saved", func() error {
		saved, _, err := file.Load()
		if err == nil && !(strings.Contains(string(saved), "inner-1") && strings.Contains(string(saved), "external")) {
			err = errors.New(string(saved))
		}
		return err
	})
	w.relay.stop()
	second.Kill()
	w.relay.start()
	w.probeIs("inner.test", func(p api.Probe) bool { return !p.Success && strings.Contains(p.Reason, "refused") })
	w.probeIs("shop.test", succeeds)
	var targets []api.Targets
	w.admin.read("/api/v1/sd/envoys?fleet=internal", &targets)
	if len(targets) != 1 || targets[0].Labels["__meta_relay_envoy"] != "inner-1" || targets[0].Labels["__meta_relay_connected"] != "false" {
		t.Errorf("%+v", targets)
	}
}
