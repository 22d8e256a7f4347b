package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// runningAlertmanager is Debian's, with the settings of deploy/alertmanager.yml, and those that it tells.
type runningAlertmanager struct {
	t       *testing.T
	address string
	pager   *pagerDuty
	// platform and shop are the keys of the services of PagerDuty.
	platform, shop string
	told           *toldPeople
}

// toldPeople is what came by Slack, mail and to the service that waits for the watchdog.
type toldPeople struct {
	mu         sync.Mutex
	chats      []chatMessage
	mails      []string // to whom, and the subject
	heartbeats []time.Time
}

type chatMessage struct {
	Channel     string
	Attachments []struct{ Title, Text, Color string }
}

// startAlertmanager runs one until the test ends. Quicker, if not 0, is what its intervals are divided by.
func startAlertmanager(t *testing.T, quicker int) *runningAlertmanager {
	t.Helper()
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Fatal("prometheus-alertmanager is missing: make programs installs it")
	}
	a := &runningAlertmanager{t: t, address: freeAddress(t), pager: startPagerDuty(t), platform: strings.Repeat("p", 32), shop: strings.Repeat("s", 32), told: &toldPeople{}}
	web := httptest.NewServer(a.told)
	t.Cleanup(web.Close)
	folder := t.TempDir()
	for name, text := range map[string]string{"pagerduty-platform": a.platform, "pagerduty-shop": a.shop, "mail-password": "secret", "slack-url": web.URL + "/slack"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := readSettings(t, "alertmanager.yml", map[string]string{
		"https://events.pagerduty.com/v2/enqueue": a.pager.URL,
		"https://heartbeat.example.com/relay":     web.URL + "/heartbeat",
		"smtp_smarthost: mail.example.com:587":    "smtp_require_tls: false\n  smtp_smarthost: " + startMail(t, a.told),
		"/etc/alertmanager/":                      folder + "/",
	})
	if quicker > 0 {
		settings = divideIntervals(t, settings, quicker)
	}
	if err := os.WriteFile(filepath.Join(folder, "alertmanager.yml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, "Alertmanager", exec.Command(program, "--config.file", filepath.Join(folder, "alertmanager.yml"), "--storage.path", filepath.Join(folder, "data"),
		"--web.listen-address", a.address, "--cluster.listen-address", ""))
	eventually(t, "Alertmanager answers", func() error {
		response, err := http.Get("http://" + a.address + "/-/ready")
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
	return a
}

// readSettings reads a file of deploy, and puts in addresses, of which each must be there.
func readSettings(t *testing.T, name string, replace map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	settings := string(text)
	for from, to := range replace {
		if !strings.Contains(settings, from) {
			t.Fatalf("%s has no %s", name, from)
		}
		settings = strings.ReplaceAll(settings, from, to)
	}
	return settings
}

// runUntilEnd runs a program until the test ends, and shows what it printed if that failed.
func runUntilEnd(t *testing.T, name string, cmd *exec.Cmd) (end func()) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, log.String())
		}
	})
	t.Cleanup(end)
	return end
}

// alert is one as Prometheus sends it.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	EndsAt      string            `json:"endsAt,omitempty"`
}

// labelled returns an alert with labels that are given as k=v, with a summary.
func labelled(labels ...string) alert {
	a := alert{Labels: make(map[string]string), Annotations: map[string]string{"description": "A description.", "runbook": "docs/runbook.md"}}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		a.Labels[k] = v
	}
	a.Annotations["summary"] = strings.Join(labels, " ")
	return a
}

// over returns the alert as one that ended.
func (a alert) over() alert {
	a.EndsAt = time.Now().UTC().Format(time.RFC3339Nano)
	return a
}

// send sends alerts, as Prometheus does.
func (a *runningAlertmanager) send(alerts ...alert) {
	a.t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		a.t.Fatal(err)
	}
	response, err := http.Post("http://"+a.address+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		a.t.Fatalf("Alertmanager answers %s", response.Status)
	}
}

func (d *toldPeople) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.URL.Path {
	case "/slack":
		var m chatMessage
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, "invalid_payload", http.StatusBadRequest)
			return
		}
		d.chats = append(d.chats, m)
		_, _ = fmt.Fprint(w, "ok")
	case "/heartbeat":
		d.heartbeats = append(d.heartbeats, time.Now())
	default:
		http.NotFound(w, r)
	}
}

// chat reports whether a channel was told something with a text.
func (d *toldPeople) chat(channel, text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.chats, func(m chatMessage) bool {
		return m.Channel == channel && len(m.Attachments) == 1 && strings.Contains(m.Attachments[0].Title+m.Attachments[0].Text, text)
	})
}

// mailTo reports whether somebody got a mail with a text in its subject.
func (d *toldPeople) mailTo(to, subject string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.mails, func(m string) bool { return strings.HasPrefix(m, to+" ") && strings.Contains(m, subject) })
}

// beats is how often the watchdog has called.
func (d *toldPeople) beats() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.heartbeats)
}

// startMail runs a server of mail until the test ends.
func startMail(t *testing.T, d *toldPeople) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(patience))
				d.takeMail(c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return l.Addr().String()
}

// takeMail speaks SMTP on a connection.
func (d *toldPeople) takeMail(c net.Conn) {
	r := textproto.NewReader(bufio.NewReader(c))
	say := func(line string) { _, _ = fmt.Fprint(c, line, "\r\n") }
	say("220 mail.test")
	var to string
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.test\r\n250 AUTH PLAIN")
		case "AUTH":
			say("235 welcome")
		case "RCPT":
			to = strings.Trim(strings.TrimPrefix(strings.ToUpper(rest[:3])+rest[3:], "TO:"), "<> ")
			say("250 ok")
		case "DATA":
			say("354 go on")
			head, err := r.ReadMIMEHeader()
			if _, bodyErr := r.ReadDotBytes(); err != nil || bodyErr != nil {
				return
			}
			d.mu.Lock()
			d.mails = append(d.mails, to+" "+head.Get("Subject"))
			d.mu.Unlock()
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
