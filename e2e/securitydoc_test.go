package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/admin"
	"relay/certs/certstest"
	"relay/internal/logtest"
	"relay/sources/marathon/marathontest"
	"relay/xds"
	"relay/xds/envoytest"
)

const securityDocument = "../docs/security.md"

// notRun are the blocks that change the machine, by their first words.
var notRun = map[string]string{
	"useradd --system": "adds a user to the machine and a service to its systemd",
}

// The commands of docs/security.md do what it says, in their order, with a real
// Envoy. Addresses and paths are those of this test.
func TestSecurityDocument(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the commands need %s: run \"make tools\"", program)
		}
	}
	text, err := os.ReadFile(securityDocument)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parseCommands(string(text))
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, string(text))
	ran, left := 0, len(notRun)
	for _, b := range blocks {
		if slices.ContainsFunc(slices.Collect(maps.Keys(notRun)), func(words string) bool { return strings.HasPrefix(b.commands, words) }) {
			left--
			continue
		}
		ran++
		if err := o.run(b); err != nil {
			t.Fatalf("docs/security.md:%d: %v", b.line, err)
		}
	}
	if ran < 15 || left != 0 {
		t.Errorf("%d blocks were run; %d of those that are not run are not there", ran, left)
	}
	o.stillServing()
}

// operator follows the document on a machine of its own: a directory.
type operator struct {
	t       *testing.T
	dir     string
	environ []string
	here    *strings.Replacer
	servers []*serving
}

// serving is a command that does not end.
type serving struct {
	commands string
	log      logtest.Buffer
	ended    chan struct{}
}

func newOperator(t *testing.T, document string) *operator {
	t.Helper()
	o := &operator{t: t, dir: t.TempDir()}
	bin, home := filepath.Join(o.dir, "bin"), filepath.Join(o.dir, "home")
	envoy, err := envoytest.Find()
	if err != nil {
		t.Fatal(err)
	}
	o.write("bin/relay", 0o700, fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", program.path(t)))
	o.write("bin/envoy", 0o700, fmt.Sprintf("#!/bin/sh\nexec '%s' --disable-hot-restart --concurrency 1 --log-level warning \"$@\"\n", envoy))
	o.write("home/.curlrc", 0o600, "")
	o.environ = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + t.TempDir(), "LC_ALL=C"}

	address := func() string { return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)) }
	edge, edgeTLS := address(), address()
	places := []string{
		"/etc/relay", o.dir + "/etc/relay", "/etc/envoy", o.dir + "/etc/envoy", "/var/lib/relay", o.dir + "/var/lib/relay",
		"10.0.0.5:18000", address(), "10.0.0.5:9090", address(), "10.0.0.5", "127.0.0.1",
		"10.0.0.9:443", edgeTLS, "10.0.0.9:80", edge, "0.0.0.0:443", edgeTLS, "0.0.0.0:8000", address(), "0.0.0.0:80", edge,
		"127.0.0.1:9901", address(), "10.0.7.0/24", "127.0.7.0/24", "10.0.7.20", "127.0.7.20",
		"https://marathon.example.com:8443", o.marathon(),
	}
	for i := 0; i < len(places); i += 2 {
		if !strings.Contains(document, places[i]) {
			t.Errorf("the document has no %s", places[i])
		}
	}
	o.here = strings.NewReplacer(places...)
	return o
}

// marathon starts the Marathon of the document, and leaves what it takes to log
// in to it where Relay looks for it.
func (o *operator) marathon() (url string) {
	o.t.Helper()
	ca := certstest.TestCA(o.t)
	config, err := ca.TestIssue(o.t, []string{"127.0.0.1"}, certstest.Options{IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}).ServerTLS()
	if err != nil {
		o.t.Fatal(err)
	}
	m := marathontest.Start(o.t, marathontest.Options{TLS: config, Credentials: "relay:s3cret"})
	o.write("etc/relay/marathon-ca.pem", 0o600, string(ca.RootPEM()))
	o.write("etc/relay/marathon-password", 0o600, "s3cret\n")
	for _, definition := range []string{
		app("/shop", "shop.example.com", 1, "HAPROXY_GROUP", "external,internal"),
		app("/office", "office.example.com", 1, "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "192.0.2.0/24"),
	} {
		if err := m.Apply(definition); err != nil {
			o.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	if err := m.WaitIdle(ctx); err != nil {
		o.t.Fatal(err)
	}
	return m.URL()
}

func (o *operator) write(name string, mode os.FileMode, text string) {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		o.t.Fatal(err)
	}
}

// run runs a block and says what is not as documented.
func (o *operator) run(b commandBlock) error {
	switch {
	case b.outcome == outcomeServes:
		return o.serve(b)
	case b.outcome == outcomeLog:
		return o.soon(func() error { return o.logged(b) })
	case b.from != "":
		o.write("home/.curlrc", 0o600, "interface = "+o.here.Replace(b.from)+"\n")
		defer o.write("home/.curlrc", 0o600, "")
	}
	once := func() error {
		ctx, cancel := context.WithTimeout(o.t.Context(), patience)
		defer cancel()
		cmd := o.command(ctx, b)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if ctx.Err() != nil {
			return fmt.Errorf("it does not end: %s", out.String())
		}
		if err := b.judge(err == nil, out.String(), o.here.Replace); err != nil {
			return fmt.Errorf("%w; it ended with %v and printed:\n%s", err, cmd.ProcessState, out.String())
		}
		return nil
	}
	if b.outcome == outcomeSoon {
		return o.soon(once)
	}
	return once()
}

func (o *operator) command(ctx context.Context, b commandBlock) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euc", o.here.Replace(b.commands))
	cmd.Dir, cmd.Env = o.dir, o.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// soon tries until it works.
func (o *operator) soon(try func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err := try(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// serve starts what does not end. Envoy comes up while later blocks wait.
func (o *operator) serve(b commandBlock) error {
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{commands: b.commands, ended: make(chan struct{})}
	cmd := o.command(ctx, b)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		cancel()
		return err
	}
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
	}()
	o.servers = append(o.servers, s)
	o.t.Cleanup(func() {
		cancel()
		<-s.ended
		if o.t.Failed() {
			o.t.Logf("%s\n%s", s.commands, s.log.String())
		}
	})
	if !strings.HasPrefix(b.commands, "relay ") {
		return nil
	}
	return o.soon(func() error {
		if !strings.Contains(s.log.String(), "msg=serving") {
			return fmt.Errorf("it does not serve: %s", s.log.String())
		}
		return nil
	})
}

func (o *operator) logged(b commandBlock) error {
	log := o.servers[0].log.String()
	for _, want := range b.prints {
		want = o.here.Replace(want)
		if !slices.ContainsFunc(strings.Split(log, "\n"), func(line string) bool { return looksLike(line, want) }) {
			return fmt.Errorf("Relay's log has no line %s:\n%s", want, log)
		}
	}
	return nil
}

func (o *operator) stillServing() {
	o.t.Helper()
	if len(o.servers) != 2 {
		o.t.Errorf("%d commands that serve, want Relay and an Envoy", len(o.servers))
	}
	for _, s := range o.servers {
		select {
		case <-s.ended:
			o.t.Errorf("it has ended: %s", s.commands)
		default:
		}
	}
}

// The figures in the document are those of the code.
func TestSecurityDocumentLimits(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(securityDocument)
	if err != nil {
		t.Fatal(err)
	}
	x, a := xds.DefaultLimits(), admin.DefaultLimits()
	for _, row := range []string{
		fmt.Sprintf("| connected Envoys | %d, of one address %d |", x.Streams, x.StreamsPerAddress),
		fmt.Sprintf("| streams of a connection | %d |", x.ConnectionStreams),
		fmt.Sprintf("| connections without an Envoy's stream | %d, of one address %d; then the oldest are closed |", x.Idle, x.IdlePerAddress),
		fmt.Sprintf("| handshakes of TLS and HTTP/2, then the first request | %s, then %s |", x.Handshake, x.FirstRequest),
		fmt.Sprintf("| names of one type that an Envoy subscribes to | %d |", x.Names),
		fmt.Sprintf("| requests an Envoy sends on its own | %g a second, %d ahead |", x.RequestsPerSecond, x.Burst),
		fmt.Sprintf("| a response left unread or unanswered | %s |", x.Stall),
		fmt.Sprintf("| head of the first request, from connecting | %s |", a.Header),
		fmt.Sprintf("| body | %s |", a.Request),
		fmt.Sprintf("| connections without a request | %d, of one address %d; then the oldest are closed |", a.Idle, a.IdlePerAddress),
		fmt.Sprintf("| requests answered at a time, besides hooks and health checks | %d |", a.Requests),
		// How long a stream may outlive what let it in.
		fmt.Sprintf("streams that it opened end within %g s", (x.Stall / 4).Seconds()),
	} {
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/security.md does not say %q", row)
		}
	}
}
