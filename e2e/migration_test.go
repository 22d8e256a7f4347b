package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
)

const (
	migrationDocument = "../docs/migrating.md"
	// migrationProgram is the relay command to run: set in the process that has a network of its own.
	migrationProgram = "RELAY_TEST_MIGRATION_PROGRAM"
)

// What the steps of docs/migrating.md are followed in: to the last one but one, back, and forward
// again.
var migrationSteps = []string{
	"1. Read", "2. Run beside", "3. Certificates", "4. Compare", "5. Move one domain", "6. Move all",
	"Going back", "6. Move all", "7. Stop marathon-lb",
}

// notRunToMigrate are the other parts of the document with commands.
var notRunToMigrate = map[string]string{"Leftovers": "they need jq"}

// From marathon-lb to Relay and back, by the commands of docs/migrating.md, with a real HAProxy and
// a real Envoy. No request fails meanwhile. All ports are those of the document: the test has a
// network of its own.
func TestMigration(t *testing.T) {
	if relay := os.Getenv(migrationProgram); relay != "" {
		testMigration(t, relay)
		return
	}
	t.Parallel()
	if _, err := exec.LookPath(haproxyProgram()); err != nil {
		t.Fatalf("%v: run make tools, or install haproxy", err)
	}
	root := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMigration$", "-test.timeout=10m", "-test.v")
	cmd.Env = append(os.Environ(), migrationProgram+"="+program.path(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: root(os.Getuid()), GidMappings: root(os.Getgid()), Pdeathsig: syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL):
		t.Skipf("network namespaces cannot be made here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
}

// migration is the machine of the document.
type migration struct {
	*operator
	clients *clients
	old     *marathonLB
	loads   []load
	// webSocket is one that was opened before the last step but one, and by whom it is served.
	webSocket *websocket.Conn
}

func testMigration(t *testing.T, relay string) {
	text, err := os.ReadFile(migrationDocument)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parseCommands(string(text))
	if err != nil {
		t.Fatal(err)
	}
	m := newMigration(t, relay, string(text))
	ran := make(map[int]bool)
	for i, step := range migrationSteps {
		start := time.Now()
		m.stays(step)
		for _, b := range blocks {
			if b.section != step {
				continue
			}
			ran[b.line] = true

			if err := m.run(b); err != nil {
				t.Fatalf("step %d, docs/migrating.md:%d: %v", i, b.line, err)
			}
			if b.outcome == outcomeSoon {
				m.sent(10)
			}
		}
		m.sent(10)
		t.Logf("%s: %s", step, time.Since(start).Round(10*time.Millisecond))
	}
	for _, b := range blocks {
		if reason := notRunToMigrate[b.section]; !ran[b.line] && reason == "" {
			t.Errorf("docs/migrating.md:%d is not run", b.line)
		}
	}
	m.stillServing(2)
	for _, l := range m.loads {
		m.clients.noFailure(l, 100)
	}
}

// newMigration starts Marathon, marathon-lb, and clients that ask it all the time.
func newMigration(t *testing.T, relay, document string) *migration {
	t.Helper()
	o := newOperator(t, relay)
	for _, args := range []string{"ip link set lo up", "ip addr add 10.0.0.9/32 dev lo"} {
		if err := o.run(commandBlock{commands: args}); err != nil {
			t.Fatal(err)
		}
	}
	certs := &certificates{t: t, ca: certstest.TestCA(t), dir: filepath.Join(o.dir, "var/lib/marathon-acme/certs")}
	o.write("ca.pem", 0o600, string(certs.ca.RootPEM()))
	o.environ = append(o.environ, "SSL_CERT_FILE="+filepath.Join(o.dir, "ca.pem"), "CURL_CA_BUNDLE="+filepath.Join(o.dir, "ca.pem"))
	for _, name := range []string{"shop", "blog", "wiki"} {
		name += ".example.com"
		o.write("var/lib/marathon-acme/certs/"+name+".pem", 0o600, string(certs.ca.TestIssue(t, []string{name}, certstest.Options{}).Bundle()))
	}
	changed := make(chan struct{}, 1)
	marathon := &runningMarathon{t: t, Server: marathontest.Start(t, marathontest.Options{KillGrace: time.Second, OnEvent: func(marathontest.Event) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}})}
	page := func(definition string) string {
		return strings.TrimSuffix(definition, "}") + `, "env": {"PAGE": "Hello, this is a page.\n"}}`
	}
	marathon.deploy(
		page(app("/shop", "shop.example.com", 2, "HAPROXY_0_REDIRECT_TO_HTTPS", "true")),
		page(app("/shop/api", "shop.example.com", 1, "HAPROXY_0_PATH", "/api", "HAPROXY_0_BACKEND_WEIGHT", "1", "HAPROXY_0_REDIRECT_TO_HTTPS", "true")),
		page(app("/blog", "blog.example.com", 1)),
		page(app("/wiki", "wiki.example.com", 1, "HAPROXY_0_BACKEND_HTTP_OPTIONS", "  http-request redirect code 301 location /start if { path / }\n")),
		page(`{"id": "/queue", "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "tcp"}, "portDefinitions": [{"port": 5672}]}`),
	)
	m := &migration{operator: o, old: startMarathonLB(t, filepath.Join(o.dir, "marathon-lb"), marathon.URL(), certs.dir, changed)}
	m.manages()
	m.at(document,
		"/etc/relay", o.dir+"/etc/relay", "/etc/envoy", o.dir+"/etc/envoy", "/var/lib/marathon-acme", filepath.Dir(certs.dir),
		"/marathon-lb/", m.old.dir+"/", "sleep 5", "sleep 2", "http://marathon.example.com:8080", marathon.URL(),
	)
	m.clients = &clients{t: t, certs: certs, http: "10.0.0.9:80", https: "10.0.0.9:443", fresh: true}
	for url, want := range map[string]string{
		"http://blog.example.com/": "200 /blog", "https://shop.example.com/": "200 /shop", "https://shop.example.com/api/x": "200 /shop/api",
		"http://shop.example.com/x": "301 https://shop.example.com/x",
	} {
		m.asks(m.clients, url, want)
	}
	m.asks(&clients{t: t, certs: certs, http: "10.0.0.9:5672", fresh: true}, "http://queue/", "200 /queue")
	return m
}

// sent waits until so many more requests have been sent, so that each step is seen by clients.
func (m *migration) sent(n int64) {
	m.t.Helper()
	before := make([]int64, len(m.loads))
	for i, l := range m.loads {
		before[i] = l.sent.Load()
	}
	eventually(m.t, "requests of clients", func() error {
		for i, l := range m.loads {
			if sent := l.sent.Load() - before[i]; sent < n {
				return fmt.Errorf("%d of %d", sent, n)
			}
		}
		return nil
	})
}

// asks sends requests, each by a connection of its own, until the end of the test.
func (m *migration) asks(c *clients, url, want string) {
	m.loads = append(m.loads, c.load(40, func(a answer) error {
		if got := fmt.Sprint(a.status, " ", cmp.Or(a.header.Get("Location"), a.header.Get("X-App"))); got != want {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	}, url))
}

// manages stands for Docker, for runit in the container, and for systemd.
func (m *migration) manages() {
	m.t.Helper()
	systemd := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		err := errors.New("nothing is known of this")
		if r.URL.Path == "/restart/relay" {
			err = m.restart("relay serve")
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	}))
	m.t.Cleanup(systemd.Close)
	call := "exec curl -sS --fail -X POST "
	lb := "http://" + m.old.control.Addr().String()
	m.program("systemctl", call+systemd.URL+"/$1/$2")
	m.program("sv", call+lb+"/sv/$1/${2##*/}")
	m.program("docker", `[ "$1" = exec ] || `+call+lb+`/docker/$1
shift
[ "$1" != -i ] || shift
[ "$1" = marathon-lb ] || exit 1
shift
cd '`+m.old.dir+`' && exec "$@"`)
}

// stays opens a WebSocket before some steps, and uses it after them.
func (m *migration) stays(step string) {
	m.t.Helper()
	if m.webSocket != nil {
		m.clients.says(m.webSocket, "still here, before step "+step)
	}
	switch step {
	case "6. Move all", "Going back":
		// Before the first of these marathon-lb has it, which leaves and keeps it. Before the next
		// one Envoy has.
		m.webSocket = m.clients.echo("wss://shop.example.com/ws")
	}
}
