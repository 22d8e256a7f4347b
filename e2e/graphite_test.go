package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/deploy"
	"relay/internal/graphite"
	"relay/internal/logtest"
	"relay/xds/envoytest"
)

// programOf finds a program of Debian, which may be where users do not look for one.
func programOf(t testing.TB, name string) string {
	t.Helper()
	for _, try := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(try); err == nil {
			return found
		}
	}
	t.Fatalf("%s is missing: make programs installs it", name)
	return ""
}

// runningProgram is a program of others.
type runningProgram struct {
	*exec.Cmd
	log *logtest.Buffer
}

// runProgram starts a program, which ends with the test.
func runProgram(t testing.TB, name string, args ...string) *runningProgram {
	t.Helper()
	p := &runningProgram{exec.Command(programOf(t, name), args...), new(logtest.Buffer)}
	p.Stdout, p.Stderr = p.log, p.log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.log)
		}
	})
	return p
}

func (p *runningProgram) end() {
	if p.ProcessState == nil {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// carbon is Debian's, with a folder of its own.
type carbon struct {
	t               *testing.T
	folder, address string
	*runningProgram
}

func (c *carbon) start() {
	c.t.Helper()
	_, port, _ := net.SplitHostPort(c.address)
	conf := fmt.Sprintf(`[cache]
STORAGE_DIR = %[1]s/
LOCAL_DATA_DIR = %[1]s/whisper/
CONF_DIR = %[1]s/
LOG_DIR = %[1]s/log/
PID_DIR = %[1]s/
USER =
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_TAGS = False
LOG_UPDATES = False
LOG_CREATES = False
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = %[2]s
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = %[3]d
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = %[4]d
`, c.folder, port, envoytest.FreePort(c.t), envoytest.FreePort(c.t))
	for name, text := range map[string]string{"carbon.conf": conf, "storage-schemas.conf": "[default]\npattern = .*\nretentions = 1s:10m\n"} {
		if err := os.WriteFile(filepath.Join(c.folder, name), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	c.runningProgram = runProgram(c.t, "carbon-cache", "--config="+filepath.Join(c.folder, "carbon.conf"), "--nodaemon", "--logfile=-", "--pidfile="+filepath.Join(c.folder, "pid"), "start")
}

// names are the metrics that carbon has files of.
func (c *carbon) names() (all []string) {
	root := filepath.Join(c.folder, "whisper")
	_ = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(file, ".wsp"); ok && err == nil {
			name, _ = filepath.Rel(root, name)
			all = append(all, strings.ReplaceAll(name, "/", "."))
		}
		return nil
	})
	return all
}

// last is the newest value of a metric, as Graphite's own program reads it.
func (c *carbon) last(name string) (value string, when string) {
	out, err := exec.Command(programOf(c.t, "whisper-fetch"), filepath.Join(c.folder, "whisper", strings.ReplaceAll(name, ".", "/")+".wsp")).CombinedOutput()
	if err != nil {
		return err.Error() + string(out), ""
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] != "None" {
			when, value = f[0], f[1]
		}
	}
	return value, when
}

// graphitePaths are what a dashboard asks Graphite for, everything chosen.
func graphitePaths(t *testing.T) (paths []string) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/dashboards/relay-graphite.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Type    string
			Targets []struct{ Target string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	chosen := strings.NewReplacer("$prefix", "relay", "$envoys", "envoy", "$relay", "*", "$fleet", "*", "$envoy", "*")
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			found := regexp.MustCompile(`[a-z$][\w$*]*(\.[\w$*]+)+`).FindAllString(target.Target, -1)
			if len(found) != 1 {
				t.Errorf("%s asks for %q", target.Target, found)
			}
			for _, p := range found {
				paths = append(paths, chosen.Replace(p))
			}
		}
	}
	if len(paths) < 15 {
		t.Errorf("only %d paths", len(paths))
	}
	return paths
}

// matches reports whether a name is one of those that a path with "*" stands for.
func matches(pattern, name string) bool {
	ok, _ := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(name, ".", "/"))
	return ok
}

// statsD takes what Envoy sends by UDP, and names it as the daemon StatsD does.
type statsD struct {
	mu    sync.Mutex
	names map[string]bool
}

func (s *statsD) listen(t *testing.T) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		for buffer := make([]byte, 1<<16); ; {
			n, _, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			name, value, _ := strings.Cut(string(buffer[:n]), ":")
			_, kind, _ := strings.Cut(value, "|")
			s.mu.Lock()
			switch kind {
			case "c":
				s.names["stats."+name] = true
			case "g":
				s.names["stats.gauges."+name] = true
			case "ms":
				s.names["stats.timers."+name+".upper_90"] = true
			}
			s.mu.Unlock()
		}
	}()
	return conn.LocalAddr().String()
}

func (s *statsD) all() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.names {
		names = append(names, n)
	}
	return names
}

// A real carbon keeps Relay's metrics, and what the dashboard for Graphite asks for is there: of Relay, and of an
// Envoy that sends its stats and none of apps. Relay still learns from it what apps get. That carbon is gone is said
// once, and Relay and Envoy serve on. When it is back it gets what is new.
func TestGraphite(t *testing.T) {
	w := newWorld(t)
	c := &carbon{t: t, folder: t.TempDir(), address: freeAddress(t)}
	c.start()
	w.relay.config.Graphite = graphite.Config{Address: c.address, Prefix: "relay.host-1", Interval: time.Second}
	s := &statsD{names: make(map[string]bool)}
	w.envoy.statsD = deploy.StatsD{Address: s.listen(t), Prefix: "envoy.{fleet}.{node}", Interval: time.Second}
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	wanted := graphitePaths(t)
	w.eventually("what the dashboard asks for", func() error {
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
		w.clients.expect("http://nobody.test/", http.StatusNotFound, "")
		names := append(c.names(), s.all()...)
		var errs []error
		for _, pattern := range wanted {
			if !slices.ContainsFunc(names, func(name string) bool { return matches(pattern, name) }) {
				errs = append(errs, fmt.Errorf("%s is nowhere", pattern))
			}
		}
		return errors.Join(errs...)
	})
	for _, name := range s.all() {
		if strings.Contains(name, "/a_0") {
			t.Errorf("Envoy sends %s", name)
		}
	}
	w.eventually("requests that Envoy reports", func() error {
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
		value, _ := c.last("relay.host-1.relay_requests_total.fleet.external")
		if n, err := strconv.ParseFloat(value, 64); err != nil || n == 0 {
			return fmt.Errorf("%q", value)
		}
		return nil
	})
	// The kernel takes connections and some data for a program that hangs: that is found out later.
	_ = c.Process.Signal(syscall.SIGSTOP)
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	c.end()
	w.eventually("somebody says that carbon is gone", func() error {
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
		if len(w.relay.log.Lines("event=graphite_unreachable")) == 0 {
			return errors.New("nobody does")
		}
		return nil
	})
	_, before := c.last("relay.host-1.relay_marathon_apps")
	c.start()
	w.eventually("carbon is back", func() error {
		if _, when := c.last("relay.host-1.relay_marathon_apps"); when == before {
			return errors.New("nothing is new")
		}
		if lost, back := w.relay.log.Lines("event=graphite_unreachable"), w.relay.log.Lines("event=graphite_reached"); len(lost) != len(back) || len(lost) > 2 {
			return fmt.Errorf("it is said %d and %d times", len(lost), len(back))
		}
		return nil
	})
}
