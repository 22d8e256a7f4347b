package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/internal/logtest"
)

// marathonLB stands for marathon-lb: a real HAProxy with the rules that marathon-lb makes of
// the apps in Marathon, and its folder. It is told what to do by requests, as the program of
// marathon-lb is by signals.
type marathonLB struct {
	t        *testing.T
	dir      string // that the program of marathon-lb is started in
	url      string // of Marathon
	certs    string // its --ssl-certs
	control  net.Listener
	log      logtest.Buffer
	changed  chan struct{} // something in Marathon has
	stop     chan struct{}
	watching sync.WaitGroup

	mu       sync.Mutex // guards all below
	haproxy  *exec.Cmd  // nil when it was stopped
	ended    chan struct{}
	written  string // the configuration that HAProxy has
	domains  string // the map that goes with it: the backend of each domain without a path
	apps     string // the backend of each HTTP app
	template map[string]string
	down     bool // the program that writes the configuration is not running
}

// The pieces of HAProxy's configuration that marathon-lb lets people replace, and that the
// document does replace.
const (
	httpHead  = "HAPROXY_HTTP_FRONTEND_HEAD"
	httpsHead = "HAPROXY_HTTPS_FRONTEND_HEAD"
)

// startMarathonLB starts it in dir.
func startMarathonLB(t *testing.T, dir, marathon, certs string, changed chan struct{}) *marathonLB {
	t.Helper()
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lb := &marathonLB{t: t, dir: dir, url: marathon, certs: certs, control: control, changed: changed, stop: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(lb.signal)}
	lb.watching.Go(func() { _ = server.Serve(control) })
	lb.watching.Go(lb.watch)
	t.Cleanup(func() {
		close(lb.stop)
		_ = server.Close()
		lb.watching.Wait()
		lb.mu.Lock()
		defer lb.mu.Unlock()
		lb.leave(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("HAProxy:\n%s\n%s", lb.log.String(), lb.written)
		}
	})
	lb.mu.Lock()
	defer lb.mu.Unlock()
	if err := lb.start(); err != nil {
		t.Fatal(err)
	}
	return lb
}

// watch writes the configuration anew when apps have changed.
func (lb *marathonLB) watch() {
	for {
		select {
		case <-lb.stop:
			return
		case <-lb.changed:
		}
		lb.mu.Lock()
		if err := lb.write(); err != nil {
			lb.t.Errorf("marathon-lb: %v", err)
		}
		lb.mu.Unlock()
	}
}

// signal does what the hooks of marathon-lb do, and the programs "docker" and "sv" with it.
func (lb *marathonLB) signal(rw http.ResponseWriter, r *http.Request) {
	lb.mu.Lock()
	defer lb.mu.Unlock()
	var err error
	switch r.URL.Path {
	case "/_haproxy_getconfig", "/_haproxy_getvhostmap", "/_haproxy_getappmap":
		text := map[string]string{"config": lb.written, "vhostmap": lb.domains, "appmap": lb.apps}
		_, _ = fmt.Fprint(rw, text[strings.TrimPrefix(r.URL.Path, "/_haproxy_get")])
		return
	case "/_mlb_signal/hup":
		err = lb.write()
	case "/_mlb_signal/usr1":
		err = lb.reload()
	case "/sv/restart/lb": // it reads its templates
		lb.template, lb.down = nil, false
		err = lb.write()
	case "/sv/down/lb":
		lb.down = true
	case "/sv/once/haproxy": // is not started again when it ends
	case "/sv/1/haproxy":
		if lb.haproxy == nil {
			err = errors.New("HAProxy is down")
			break
		}
		err = lb.haproxy.Process.Signal(syscall.SIGUSR1)
	case "/docker/restart":
		lb.leave(syscall.SIGTERM)
		lb.down = false
		err = lb.start()
	case "/docker/stop":
		lb.leave(syscall.SIGTERM)
		lb.down = true
	default:
		err = errors.New("nothing is known of this")
	}
	if err != nil {
		http.Error(rw, fmt.Sprintf("%s: %v", r.URL.Path, err), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintln(rw, "Sent the signal to marathon-lb")
}

// start starts HAProxy with what Marathon says.
func (lb *marathonLB) start() error {
	lb.template, lb.written = nil, ""
	return lb.write()
}

// leave ends HAProxy by a signal, if it runs, and waits for its end.
func (lb *marathonLB) leave(signal syscall.Signal) {
	if lb.haproxy == nil {
		return
	}
	_ = lb.haproxy.Process.Signal(signal)
	<-lb.ended
	lb.haproxy = nil
}

// write makes the configuration anew, and has HAProxy read it if it is another one. One that
// HAProxy does not take changes nothing.
func (lb *marathonLB) write() error {
	if lb.down {
		return nil
	}
	text, err := lb.configuration()
	if err != nil || text == lb.written {
		return err
	}
	path := filepath.Join(lb.dir, "haproxy.cfg")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(haproxyProgram(), "-c", "-f", path+".new").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s\n%s", err, out, text)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	lb.written = text
	return lb.reload()
}

// reload has HAProxy read its configuration again: a new process takes over the listening
// sockets of the old one, which ends with its last connection.
func (lb *marathonLB) reload() error {
	if lb.haproxy != nil {
		return lb.haproxy.Process.Signal(syscall.SIGUSR2)
	}
	cmd := exec.Command(haproxyProgram(), "-W", "-db", "-f", filepath.Join(lb.dir, "haproxy.cfg"))
	cmd.Stdout, cmd.Stderr = &lb.log, &lb.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	lb.haproxy, lb.ended = cmd, ended
	return lb.answering()
}

// haproxyProgram is where HAProxy is: the PATH of users has no /usr/sbin in Debian.
func haproxyProgram() string {
	if path, err := exec.LookPath("haproxy"); err == nil {
		return path
	}
	return "/usr/sbin/haproxy"
}

// head returns the piece of this name: from the folder, or the one of marathon-lb. The folder
// counts from when the program was started.
func (lb *marathonLB) head(name string) (string, error) {
	if lb.template == nil {
		lb.template = map[string]string{
			httpHead:  "\nfrontend marathon_http_in\n  bind *:80\n  mode http\n",
			httpsHead: "\nfrontend marathon_https_in\n  bind *:443 ssl {sslCerts}\n  mode http\n",
		}
		for name := range lb.template {
			switch text, err := os.ReadFile(filepath.Join(lb.dir, "templates", name)); {
			case err == nil:
				lb.template[name] = string(text)
			case !errors.Is(err, os.ErrNotExist):
				return "", err
			}
		}
	}
	return strings.ReplaceAll(lb.template[name], "{sslCerts}", "crt "+lb.certs), nil
}

// answering waits until HAProxy answers. Before that it would not understand signals.
func (lb *marathonLB) answering() error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get("http://127.0.0.1:9090/_haproxy_health_check")
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}
