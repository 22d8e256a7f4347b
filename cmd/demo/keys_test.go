package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// watched is the demo that is watched from outside, and whose user presses keys.
type watched struct {
	*process
	keys   io.Writer
	alerts bool // there are programs for them
	from   int  // where the output of the last keys begins
}

// programs is how many the demo starts.
func (w *watched) programs() int {
	if w.alerts {
		return 6
	}
	return 4
}

func newWatched(t *testing.T, p *process, keys io.Writer) *watched {
	_, noPrometheus := exec.LookPath("prometheus")
	_, noAlertmanager := exec.LookPath("prometheus-alertmanager")
	return &watched{process: p, keys: keys, alerts: noPrometheus == nil && noAlertmanager == nil}
}

// press presses keys, and waits until each has been answered.
func (w *watched) press(keys ...string) {
	w.t.Helper()
	w.from = len(w.output())
	for _, key := range keys {
		if _, err := io.WriteString(w.keys, key); err != nil {
			w.t.Fatal(err)
		}
		w.sees(`-- ` + strings.TrimSpace(key) + `: `)
	}
}

// sees waits until the output since the last keys has something.
func (w *watched) sees(pattern string) {
	w.t.Helper()
	want := regexp.MustCompile(pattern)
	eventually(w.t, pattern, func() error {
		if !want.MatchString(w.output()[w.from:]) {
			return fmt.Errorf("not seen")
		}
		return nil
	})
}

// told waits until Alertmanager tells somebody, if it is there.
func (w *watched) told(receiver, alert string) {
	w.t.Helper()
	if w.alerts {
		w.sees(`told: +` + receiver + `: ` + alert)
	}
}

func answers(url string) bool {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Each key breaks what it says, which is seen where it says, and mends it. Keys come as lines, as there is no terminal.
func TestKeys(t *testing.T) {
	t.Parallel()
	p := prepare(t, "--scenario", "monitoring")
	input, keys, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin = input
	t.Cleanup(func() { _, _ = input.Close(), keys.Close() })
	p.start()
	w := newWatched(t, p, keys)
	w.sees(`probes: +6 succeed\n(.*\n)*.*status page: Shop up, Search up, Devices up`)
	urls := regexp.MustCompile(`http://[0-9.:]+/`).FindAllString(w.output(), 2)
	page, admin := urls[0], urls[1]

	w.press("z\n")
	w.sees(`probes: +4 succeed, 2 are not asked`)
	w.press("z\n")
	w.sees(`probes: +6 succeed`)
	if regexp.MustCompile(`Search (down|degraded)|told: .*/search`).MatchString(w.output()) {
		t.Error("somebody is told of an app that was scaled to 0")
	}

	w.press("a\n", "s\n")
	w.sees(`device-1 fails through east and west: message to the agent: `)
	w.sees(`shop.monitoring.test fails through east and west: .*should take 1s at most`)
	w.press("a\n", "s\n")
	w.sees(`probes: +6 succeed`)

	w.press("e\n", "f\n", "m\n", "c\n")
	w.sees(`device-1 fails through west: connect: the connection was refused`)
	w.sees(`shop.monitoring.test fails through east: .*status is 500`)
	w.sees(`status page: Shop down, Search (degraded|down), Devices degraded`)
	w.sees(`search.monitoring.test fails through .*expired`)
	w.told("platform-pager", "RelayFleetDown .west.")
	w.told("platform-pager", "RelayMarathonLost")
	w.told("platform-pager", "RelayCertificateExpires")
	w.told("shop-pager", "RelayAppProbeFails .east.")
	w.press("e\n", "f\n", "m\n", "c\n")
	w.sees(`probes: +6 succeed`)

	w.press("d\n")
	w.press("r\n")
	eventually(t, "Relay is away, the status page is not", func() error {
		if answers(admin) || !answers(page) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	w.told("platform-pager", "RelayDown")
	w.press("r\n")
	eventually(t, "Relay is back", func() error {
		if !answers(admin) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if regexp.MustCompile(`probes: +[0-5] succeed`).MatchString(w.output()[w.from:]) {
		t.Error("a Relay that was started anew has relay probe ask less")
	}
	w.from = len(w.output())
	_, _ = io.WriteString(keys, "x\n")
	w.sees(`No key 'x'`)
	w.sees(`  e  stop the Envoy`)
	children := p.children(w.programs())
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	if err := p.ends(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	p.leavesNothing(children)
}

// On a terminal a key needs no Enter. Ctrl-C there leaves nothing behind, and the terminal as it was.
func TestKeysOnTerminal(t *testing.T) {
	t.Parallel()
	user, terminal := openTerminal(t)
	p := prepare(t, "--scenario", "monitoring")
	p.cmd.Stdin = terminal
	p.cmd.SysProcAttr.Setsid, p.cmd.SysProcAttr.Setctty = true, true
	before := settings(t, terminal)
	p.start()
	w := newWatched(t, p, user)
	w.sees(`probes: +6 succeed`)
	w.press("d")
	children := p.children(w.programs())
	if now := settings(t, terminal); now == before {
		t.Error("a key would need Enter")
	}
	if _, err := io.WriteString(user, "\x03"); err != nil {
		t.Fatal(err)
	}
	if err := p.ends(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	p.leavesNothing(children)
	if now := settings(t, terminal); now != before {
		t.Errorf("the terminal is %+v, and was %+v", now, before)
	}
}

// openTerminal returns both ends of one.
func openTerminal(t *testing.T) (user, terminal *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return user, terminal
}

func settings(t *testing.T, terminal *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}
