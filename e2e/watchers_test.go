package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"relay/deploy"
)

// write puts a file of settings into a folder, as strict as the programs want it.
func write(t *testing.T, folder, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checks runs a program that says whether its settings are good.
func checks(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(programOf(t, program), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
}

// collectd takes the example, and writes down what Relay says at /metrics and what an Envoy sends.
func TestCollectd(t *testing.T) {
	w := newWorld(t)
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	statsd := free.LocalAddr().String()
	_ = free.Close()
	host, port, _ := net.SplitHostPort(statsd)
	w.envoy.statsD = deploy.StatsD{Address: statsd, Prefix: "envoy.{fleet}.{node}"}
	w.certs.issueUnnoticed()
	w.start()
	folder := t.TempDir()
	settings := write(t, folder, "collectd.conf", fmt.Sprintf("Hostname \"here\"\nBaseDir %q\nPIDFile %q\nInterval 1\nLoadPlugin logfile\n<Plugin logfile>\nFile STDOUT\n</Plugin>\nLoadPlugin csv\n<Plugin csv>\nDataDir %q\n</Plugin>\n",
		folder, filepath.Join(folder, "pid"), filepath.Join(folder, "data"))+
		readSettings(t, "collectd.conf", map[string]string{"http://127.0.0.1:9090": w.admin.url, `"8125"`: `"` + port + `"`, `Host "127.0.0.1"`: `Host "` + host + `"`}))
	checks(t, "collectd", "-t", "-C", settings)
	runProgram(t, "collectd", "-f", "-C", settings)
	value := func(pattern string) string {
		files, _ := filepath.Glob(filepath.Join(folder, "data", "here", pattern))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			_, last, _ := strings.Cut(lines[len(lines)-1], ",")
			return last
		}
		return "none"
	}
	w.eventually("values", func() error {
		var errs []error
		for pattern, want := range map[string]string{
			"curl-relay/gauge-envoys_up_to_date-*": `1\.0.*`, "curl-relay/gauge-envoys_behind-*": `0\.0.*`, "curl-relay/gauge-envoys_rejecting-*": `0\.0.*`,
			"curl-relay/gauge-requests-*": `\d.*`, "curl-relay/gauge-request_errors-*": `0\.0.*`, "curl-relay/gauge-problems_failing-*": `0\.0.*`, "curl-relay/gauge-marathon_connected-*": `1\.0.*`,
			"curl-relay/response_code-*": `200\.0.*`, "curl-relay_healthz/response_code-*": `200\.0.*`, "curl-relay_healthz/response_time-*": `\d.*`,
			"processes-envoy/ps_count-*": `[1-9].*`, "statsd/gauge-envoy.external.envoy.server.live-*": `1\.0.*`,
		} {
			if got := value(pattern); !regexp.MustCompile("^" + want + "$").MatchString(got) {
				errs = append(errs, fmt.Errorf("%s is %s, want %s", pattern, got, want))
			}
		}
		return errors.Join(errs...)
	})
}

// Monit takes the example, and says when Marathon cannot be read, and when Relay is gone.
func TestMonit(t *testing.T) {
	w := newWorld(t)
	w.certs.issueUnnoticed()
	w.start()
	folder := t.TempDir()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.admin.url, "http://"))
	settings := write(t, folder, "monitrc", fmt.Sprintf("set daemon 1\nset idfile %[1]s/id\nset statefile %[1]s/state\nset pidfile %[1]s/pid\n", folder)+
		readSettings(t, "monit.conf", map[string]string{
			"port 9090": "port " + port, `"/usr/bin/relay status --nagios `: `"` + program.path(t) + " status --nagios --admin " + w.admin.url + " ",
			`matching "relay serve"`: fmt.Sprintf(`matching %q`, filepath.Base(os.Args[0])), "/bin/systemctl": "/bin/true", "for 3 cycles": "for 1 cycles", "for 2 cycles": "for 1 cycles",
		}))
	checks(t, "monit", "-t", "-c", settings)
	monit := runProgram(t, "monit", "-I", "-c", settings)
	says := func(words string) {
		t.Helper()
		w.eventually("Monit says "+words, func() error {
			if found := monit.log.Lines(words); len(found) == 0 {
				return errors.New(monit.log.String())
			}
			return nil
		})
	}
	w.marathon.Down()
	says("'relay-status' status failed (2) -- RELAY CRITICAL")
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	says("'relay-status' status succeeded (0) -- RELAY OK")
	if found := monit.log.Lines("'relay' "); len(found) != 0 {
		t.Errorf("Relay itself: %q", found)
	}
	w.relay.stop()
	says("'relay' failed protocol test [HTTP]")
}

// nagios is Debian's, with objects of Debian and a file of deploy.
func nagios(t *testing.T, objects string) (settings, status string) {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"results", "archives"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	relay := write(t, folder, "relay.cfg", objects)
	var files strings.Builder
	for _, name := range []string{"commands", "contacts", "timeperiods", "templates"} {
		fmt.Fprintf(&files, "cfg_file=/etc/nagios4/objects/%s.cfg\n", name)
	}
	status = filepath.Join(folder, "status.dat")
	return write(t, folder, "nagios.cfg", files.String()+fmt.Sprintf(`cfg_file=%[2]s
resource_file=/etc/nagios4/resource.cfg
log_file=%[1]s/nagios.log
object_cache_file=%[1]s/objects.cache
precached_object_file=%[1]s/objects.precache
status_file=%[3]s
status_update_interval=1
lock_file=%[1]s/pid
temp_file=%[1]s/tmp
temp_path=%[1]s
check_result_path=%[1]s/results
log_archive_path=%[1]s/archives
state_retention_file=%[1]s/retention.dat
command_file=%[1]s/nagios.cmd
query_socket=%[1]s/nagios.qh
check_external_commands=0
check_result_reaper_frequency=1
interval_length=1
enable_notifications=0
use_syslog=0
check_for_updates=0
nagios_user=%[4]d
nagios_group=%[5]d
`, folder, relay, status, os.Getuid(), os.Getgid())), status
}

// nagiosService is what Nagios makes of a service.
func nagiosService(status, name string) (state, output string) {
	text, _ := os.ReadFile(status)
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if !strings.Contains(block, "servicestatus {") || !strings.Contains(block, "\tservice_description="+name+"\n") {
			continue
		}
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if s, ok := strings.CutPrefix(line, "current_state="); ok {
				state = s
			}
			if s, ok := strings.CutPrefix(line, "plugin_output="); ok {
				output = s
			}
		}
	}
	return state, output
}

// Nagios takes the example. It notices that Marathon cannot be read, that an Envoy is gone, and that Relay is.
func TestNagios(t *testing.T) {
	w := newWorld(t)
	w.certs.issue("a.test")
	w.marathon.deploy(app("/a", "a.test", 1, "RELAY_0_PROBE", "/"))
	w.start()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.admin.url, "http://"))
	settings, status := nagios(t, readSettings(t, "nagios.cfg", map[string]string{
		"/usr/bin/relay status": program.path(t) + " status", "/usr/bin/relay probe": program.path(t) + " probe --probe-file " + w.probeFile(""), "http://127.0.0.1:9090": w.admin.url, "relay_http!9090": "relay_http!" + port,
	}))
	checks(t, "nagios4", "-v", settings)
	runProgram(t, "nagios4", settings)
	becomes := func(service, wanted, words string) {
		t.Helper()
		w.eventually(service, func() error {
			state, output := nagiosService(status, service)
			if state != wanted || !strings.Contains(output, words) {
				return fmt.Errorf("state %s: %s", state, output)
			}
			return nil
		})
	}
	becomes("Relay status", "0", "RELAY OK - ")
	becomes("Relay ready", "0", "HTTP OK")
	becomes("Relay probes", "0", "1 succeeded, 0 failed")
	w.marathon.Down()
	becomes("Relay status", "2", "RELAY CRITICAL - ")
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	becomes("Relay status", "0", "RELAY OK - ")
	w.envoy.Kill()
	becomes("Relay probes", "2", "failed a.test (http) through external/envoy")
	becomes("Relay status", "2", "RELAY CRITICAL - ")
	w.relay.stop()
	becomes("Relay ready", "2", "refused")
	becomes("Relay status", "2", "RELAY CRITICAL - ")
}
