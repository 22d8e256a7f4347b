package logs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs/certstest"
	"relay/internal/logs"
	"relay/internal/logtest"
	"relay/internal/secret"
	"relay/xds/envoytest"
)

// rsyslog is Debian's, which takes messages in four ways and writes what it makes of them, as JSON.
type rsyslog struct {
	t                             *testing.T
	folder, conf                  string
	ca, cert, key                 string // of the receiver by TLS
	udp, tcp, tls                 uint16
	socket, clientCert, clientKey string
	cmd                           *exec.Cmd
	log                           logtest.Buffer
}

func newRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	r := &rsyslog{t: t, folder: t.TempDir(), tcp: envoytest.FreePort(t), tls: envoytest.FreePort(t)}
	free, err := net.ListenPacket("udp", "127.0.0.1:0") // FreePort keeps those of UDP
	if err != nil {
		t.Fatal(err)
	}
	r.udp = uint16(free.LocalAddr().(*net.UDPAddr).Port)
	_ = free.Close()
	ca := certstest.TestCA(t)
	r.ca, r.socket = filepath.Join(r.folder, "ca.pem"), filepath.Join(r.folder, "log")
	if err := os.WriteFile(r.ca, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cert, r.key = ca.TestIssue(t, []string{"localhost"}, certstest.Options{}).TestPair(t, t.TempDir())
	r.clientCert, r.clientKey = ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, t.TempDir())
	r.conf = filepath.Join(r.folder, "rsyslog.conf")
	text := fmt.Sprintf(`global(workDirectory=%[1]q defaultNetstreamDriverCAFile=%[2]q defaultNetstreamDriverCertFile=%[3]q defaultNetstreamDriverKeyFile=%[4]q)
module(load="imudp")
module(load="imptcp")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" PermittedPeer=["relay.test"])
module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="%[5]d")
input(type="imptcp" address="127.0.0.1" port="%[6]d")
input(type="imtcp" address="127.0.0.1" port="%[7]d")
input(type="imuxsock" Socket=%[8]q UseSpecialParser="off" ParseHostname="on" CreatePath="off")
template(name="all" type="list") { property(name="jsonmesg") constant(value="\n") }
action(type="omfile" file=%[9]q template="all" flushOnTXEnd="on" asyncWriting="off")
`, r.folder, r.ca, r.cert, r.key, r.udp, r.tcp, r.tls, r.socket, filepath.Join(r.folder, "all.json"))
	if err := os.WriteFile(r.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.end()
		if t.Failed() {
			t.Logf("rsyslogd:\n%s", r.log.String())
		}
	})
	return r
}

func (r *rsyslog) start() {
	r.t.Helper()
	program, err := exec.LookPath("/usr/sbin/rsyslogd")
	if err != nil {
		r.t.Fatal("rsyslogd is missing: make programs installs it")
	}
	r.cmd = exec.Command(program, "-n", "-f", r.conf, "-i", filepath.Join(r.folder, "pid"))
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rsyslog) end() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// received is a message as rsyslog understood it.
type received struct {
	Msg, Hostname, Syslogtag, Programname, Syslogseverity, Syslogfacility, Procid, Msgid string
	App                                                                                  string `json:"app-name"`
	Data                                                                                 string `json:"structured-data"`
}

func (r *rsyslog) messages(words string) (all []received) {
	text, _ := os.ReadFile(filepath.Join(r.folder, "all.json"))
	for line := range strings.Lines(string(text)) {
		var m received
		if json.Unmarshal([]byte(line), &m) == nil && (strings.Contains(line, words) || strings.Contains(m.Data, words)) {
			all = append(all, m)
		}
	}
	return all
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// rsyslog takes messages by each way, understands all their parts, and takes no hostile value for another message.
func TestRsyslog(t *testing.T) {
	t.Parallel()
	r := newRsyslog(t)
	r.start()
	eventually(t, func() error { _, err := os.Stat(r.socket); return err })
	for name, config := range map[string]logs.Config{
		"udp":  {Address: fmt.Sprintf("udp://127.0.0.1:%d", r.udp)},
		"tcp":  {Address: fmt.Sprintf("tcp://127.0.0.1:%d", r.tcp)},
		"tls":  {Address: fmt.Sprintf("tls://localhost:%d", r.tls), CAFile: r.ca, CertFile: r.clientCert, KeyFile: r.clientKey},
		"unix": {Address: "unix://" + r.socket},
	} {
		config.Facility = "local3"
		s := logs.NewSyslog(config, prometheus.NewRegistry())
		log := slog.New(s.Handler(func(l slog.Level) bool { return l >= slog.LevelInfo })).With("way", name)
		stop := s.Start(log)
		log.Warn("app sleeps", "event", "app_asleep", "app", "/shop/"+name)
		log.Debug("not this", "event", "quiet")
		hostile := "a\"] x\n<11>1 2026-11-30T17:05:04Z forged evil 1 - - forged\n\x00\r\xff\\" + strings.Repeat("]\"\\ü", 25_000)
		log.Error(name+" hostile", "event", "hostile_"+name, "app", hostile, "token", secret.String("s3cret"))
		log.Info("last", "event", "last_"+name)
		eventually(t, func() error {
			if n := len(r.messages("last_" + name)); n != 1 {
				return fmt.Errorf("%s: the last message came %d times", name, n)
			}
			return nil
		})
		stop()
		got := r.messages("/shop/" + name)
		if len(got) != 1 {
			t.Errorf("%s: %d messages", name, len(got))
			continue
		}
		host, _ := os.Hostname()
		if m := got[0]; m.App != "relay" || m.Msgid != "app_asleep" || m.Syslogseverity != "4" || m.Syslogfacility != "19" || m.Procid != fmt.Sprint(os.Getpid()) || m.Hostname != host ||
			m.Data != fmt.Sprintf(`[relay@32473 app="/shop/%[1]s" event="app_asleep" way="%[1]s"]`, name) || strings.TrimSpace(m.Msg) != fmt.Sprintf("app sleeps way=%[1]s app=/shop/%[1]s", name) {
			t.Errorf("%s: %+v", name, m)
		}
		if got := r.messages("hostile_" + name); len(got) != 1 || got[0].App != "relay" || got[0].Syslogseverity != "3" || !strings.Contains(got[0].Data, "REDACTED") {
			t.Errorf("%s: the hostile message: %+v", name, got)
		}
	}
	for _, m := range r.messages("") {
		if m.App != "relay" && m.Programname != "rsyslogd" || m.Msgid == "quiet" {
			t.Errorf("forged: %+v", m)
		}
	}
	if len(r.messages("s3cret")) != 0 {
		t.Error("a secret was sent")
	}
}

// A real collector that ends, and comes back, costs no line that was logged while it was away. One that hangs keeps
// nobody waiting. It runs alone, as it looks at what goroutines do.
func TestRsyslogComesBack(t *testing.T) {
	r := newRsyslog(t)
	s := logs.NewSyslog(logs.Config{Address: fmt.Sprintf("tcp://127.0.0.1:%d", r.tcp), Facility: "daemon"}, prometheus.NewRegistry())
	log := slog.New(s.Handler(func(slog.Level) bool { return true }))
	defer s.Start(log)()
	log.Info("line", "event", "before")
	eventually(t, func() error { // somebody has found out
		for _, m := range s.Waiting() {
			if strings.Contains(m, "syslog_unreachable") {
				return nil
			}
		}
		return fmt.Errorf("%q wait", s.Waiting())
	})
	comes := func(event string) {
		t.Helper()
		eventually(t, func() error {
			if n := len(r.messages(`event="` + event + `"`)); n != 1 {
				return fmt.Errorf("%s came %d times", event, n)
			}
			return nil
		})
	}
	r.start()
	for _, event := range []string{"before", "syslog_unreachable", "syslog_reached"} {
		comes(event)
	}
	r.end()
	eventually(t, func() error { // the end of the connection has arrived
		stacks := make([]byte, 1<<20)
		if strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "logs.hearEnd") {
			return errors.New("the connection is thought to be open")
		}
		return nil
	})
	r.start()
	log.Info("line", "event", "after") // the first after the connection has ended
	comes("after")
	_ = r.cmd.Process.Signal(syscall.SIGSTOP)
	began := time.Now()
	for range 5000 {
		log.Info("line", "event", "hangs", "long", strings.Repeat("x", 500))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("who logs waited %s", took)
	}
	_ = r.cmd.Process.Signal(syscall.SIGCONT)
	log.Info("line", "event", "again")
	comes("again")
}
