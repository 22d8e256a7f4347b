package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	case "/_haproxy_getconfig":
		_, _ = fmt.Fprint(rw, lb.written)
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

// mlbService is a port of an app that has tasks, as marathon-lb sees it.
type mlbService struct {
	app     string
	port    int // the service port
	weight  int
	label   func(name string) string
	servers []string // addresses of tasks
}

// yes reports whether a label is set that is true or false.
func (s mlbService) yes(name string) bool {
	return slices.Contains([]string{"true", "t", "yes", "y"}, strings.ToLower(s.label(name)))
}

func (s mlbService) backend() string {
	return fmt.Sprintf("%s_%d", strings.ReplaceAll(strings.TrimPrefix(s.app, "/"), "/", "_"), s.port)
}

func (s mlbService) mode() string {
	if s.label("VHOST") != "" {
		return cmp.Or(s.label("MODE"), "http")
	}
	return cmp.Or(s.label("MODE"), "tcp")
}

// services reads the apps of the group from Marathon: by app id and service port.
func (lb *marathonLB) services(group string) (services []mlbService, err error) {
	resp, err := http.Get(lb.url + "/v2/apps?embed=apps.tasks")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var list struct {
		Apps []struct {
			ID     string
			Labels map[string]string
			Ports  []struct{ Port int } `json:"portDefinitions"`
			Tasks  []struct {
				Host, State string
				Ports       []int
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, err
	}
	for _, app := range list.Apps {
		for i, definition := range app.Ports {
			s := mlbService{app: app.ID, port: definition.Port, label: func(name string) string {
				return app.Labels[fmt.Sprintf("HAPROXY_%d_%s", i, name)]
			}}
			if !slices.Contains(strings.Split(cmp.Or(s.label("GROUP"), app.Labels["HAPROXY_GROUP"]), ","), group) {
				continue
			}
			for _, task := range app.Tasks {
				if task.State == "TASK_RUNNING" && i < len(task.Ports) {
					s.servers = append(s.servers, fmt.Sprintf("%s:%d", task.Host, task.Ports[i]))
				}
			}
			if _, err := fmt.Sscanf(cmp.Or(s.label("BACKEND_WEIGHT"), "0"), "%d", &s.weight); err != nil {
				return nil, err
			}
			if slices.Sort(s.servers); len(s.servers) > 0 { // without a task there is no rule, and so 503
				services = append(services, s)
			}
		}
	}
	slices.SortFunc(services, func(a, b mlbService) int { return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.port, b.port)) })
	return services, nil
}

// configuration makes HAProxy's configuration of what Marathon says now.
func (lb *marathonLB) configuration() (string, error) {
	services, err := lb.services("external")
	if err != nil {
		return "", err
	}
	web, err := lb.head(httpHead)
	if err != nil {
		return "", err
	}
	secure, err := lb.head(httpsHead)
	if err != nil {
		return "", err
	}
	byID, own, backends, domains := "\nfrontend marathon_http_appid_in\n  bind *:9091\n  mode http\n", "", "", ""
	for _, s := range services {
		own += fmt.Sprintf("\nfrontend %s\n  bind *:%d\n  mode %s\n  use_backend %[1]s\n", s.backend(), s.port, s.mode())
		backends += s.backendSection()
		if s.mode() == "http" {
			byID += fmt.Sprintf("  use_backend %s if { hdr(x-marathon-app-id) -i %s }\n", s.backend(), s.app)
		}
	}
	slices.SortStableFunc(services, func(a, b mlbService) int { return cmp.Compare(b.weight, a.weight) })
	for _, s := range services {
		if s.label("VHOST") == "" {
			continue
		}
		plain, tls := s.rules()
		web, secure = web+plain, secure+tls
		if s.label("PATH") == "" { // what the map can say
			for _, domain := range strings.Split(s.label("VHOST"), ",") {
				domains += domain + " " + s.backend() + "\n"
			}
		}
	}
	if err := os.WriteFile(filepath.Join(lb.dir, "domain2backend.map"), []byte(domains), 0o600); err != nil {
		return "", err
	}
	return lb.globalSections() + web + byID + secure + own + backends, nil
}

// rules are those for the domains of a service: by host in plain HTTP, by the name in TLS.
func (s mlbService) rules() (plain, tls string) {
	domains := strings.Split(s.label("VHOST"), ",")
	path := ""
	if s.label("PATH") != "" {
		path = " { path_beg " + s.label("PATH") + " }"
	}
	host := "{ hdr(host) -i " + strings.Join(domains, " ") + " }"
	plain = fmt.Sprintf("  use_backend %s if %s%s\n", s.backend(), host, path)
	if s.yes("REDIRECT_TO_HTTPS") {
		plain += fmt.Sprintf("  redirect scheme https code 301 if !{ ssl_fc } %s%s\n", host, path)
	}
	for _, domain := range domains {
		tls += fmt.Sprintf("  use_backend %s if { ssl_fc_sni %s }%s\n", s.backend(), domain, path)
	}
	return plain, tls
}

func (s mlbService) backendSection() string {
	var b bytes.Buffer
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, "  "+format+"\n", args...) }
	_, _ = fmt.Fprintf(&b, "\nbackend %s\n", s.backend())
	line("balance %s", cmp.Or(s.label("BALANCE"), "roundrobin"))
	line("mode %s", s.mode())
	if s.mode() == "http" {
		if s.yes("USE_HSTS") {
			line("http-response add-header Strict-Transport-Security max-age=15768000")
		}
		if own := s.label("BACKEND_HTTP_OPTIONS"); own != "" { // a piece of the app's own
			b.WriteString(strings.TrimRight(own, "\n") + "\n")
		} else {
			line("option forwardfor")
			line("http-request set-header X-Forwarded-Port %%[dst_port]")
			line("http-request add-header X-Forwarded-Proto https if { ssl_fc }")
		}
		if to := s.label("HTTP_BACKEND_REDIR"); to != "" {
			line("redirect code 301 location %s if { path -i / } { hdr(host) -i %s }", to, s.label("VHOST"))
		}
	}
	if networks := s.label("BACKEND_NETWORK_ALLOWED_ACL"); networks != "" {
		line("acl allowed src %s", networks)
		if s.mode() == "http" {
			line("http-request deny if !allowed")
		} else {
			line("tcp-request content reject if !allowed")
		}
	}
	cookie := ""
	if s.yes("STICKY") {
		line("cookie mesosphere_server_id insert indirect nocache")
		cookie = " cookie "
	}
	for i, server := range s.servers {
		if cookie != "" {
			cookie = fmt.Sprintf(" cookie s%d", i)
		}
		line("server %s %[1]s%s", server, cookie)
	}
	return b.String()
}

// globalSections are what does not depend on apps, with marathon-lb's own timeouts and port.
func (lb *marathonLB) globalSections() string {
	return fmt.Sprintf(`global
  maxconn 1000
  nbthread 1
  ssl-default-bind-options no-sslv3 no-tlsv10 no-tls-tickets
  stats socket %s mode 600 level admin expose-fd listeners
defaults
  retries 3
  maxconn 1000
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  timeout tunnel 3600s
  timeout http-keep-alive 1s
  timeout http-request 15s
  timeout queue 30s
  option redispatch
  option http-server-close
  option dontlognull
listen stats
  bind *:9090
  mode http
  stats enable
  monitor-uri /_haproxy_health_check
  http-request return status 200 content-type text/plain file %s if { path /_haproxy_getvhostmap }
  use_backend program if { path_beg /_mlb_signal/ } or { path /_haproxy_getconfig }
backend program
  mode http
  server program %s
`, filepath.Join(lb.dir, "socket"), filepath.Join(lb.dir, "domain2backend.map"), lb.control.Addr())
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
