package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
)

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
	byID, own, backends := "\nfrontend marathon_http_appid_in\n  bind *:9091\n  mode http\n", "", ""
	lb.domains, lb.apps = "", ""
	for _, s := range services {
		own += fmt.Sprintf("\nfrontend %s\n  bind *:%d\n  mode %s\n  use_backend %[1]s\n", s.backend(), s.port, s.mode())
		backends += s.backendSection()
		if s.mode() == "http" {
			byID += fmt.Sprintf("  acl app_%s hdr(x-marathon-app-id) -i %s\n  use_backend %[1]s if app_%[1]s\n", s.backend(), s.app)
			lb.apps += s.app + " " + s.backend() + "\n"
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
				lb.domains += domain + " " + s.backend() + "\n"
			}
		}
	}
	return lb.globalSections() + web + byID + secure + own + backends, nil
}

// rules are those for the domains of a service: by host in plain HTTP, by the name in TLS.
func (s mlbService) rules() (plain, tls string) {
	domains := strings.Split(s.label("VHOST"), ",")
	acls, path := fmt.Sprintf("  acl host_%s hdr(host) -i %s\n", s.backend(), strings.Join(domains, " ")), ""
	if s.label("PATH") != "" {
		path = " path_" + s.backend()
		tls = fmt.Sprintf("  acl%s path_beg %s\n", path, s.label("PATH"))
	}
	plain = fmt.Sprintf("%s%s  use_backend %s if host_%[3]s%s\n", acls, tls, s.backend(), path)
	if s.yes("REDIRECT_TO_HTTPS") {
		plain += fmt.Sprintf("  redirect scheme https code 301 if !{ ssl_fc } host_%s%s\n", s.backend(), path)
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
  use_backend program if { path_beg /_mlb_signal/ } or { path_beg /_haproxy_get }
backend program
  mode http
  server program %s
`, filepath.Join(lb.dir, "socket"), lb.control.Addr())
}
