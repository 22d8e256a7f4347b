package marathonlb

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Service is a port of an app for which marathon-lb makes a frontend and a backend.
type Service struct {
	// App is the id of the app, or of its deployment group.
	App string
	// Members are the ids in Marathon of the apps that it is made of.
	Members []string
	// Port is the index of the port, and ServicePort what is opened for it.
	Port, ServicePort int
	BindAddress       string
	// Hosts are the domains in the order of the label, as it has them.
	Hosts []string
	// Path is a list of prefixes, with an optional "-i" before them; empty for all.
	Path   string
	Weight int
	// HasAuth is set if a password is asked for. Realm is what clients are shown.
	HasAuth  bool
	Realm    string
	Redirect bool
	HSTS     bool
	Sticky   bool
	Mode     string
	Balance  string
	// Networks are the only ones that are let in; all if there are none.
	Networks []string
	// RootRedirect, StripPrefix and LocationPrefix are HTTP_BACKEND_REDIR, PROXYPASS_PATH
	// and REVPROXY_PATH.
	RootRedirect, StripPrefix, LocationPrefix string
	// Templates are the labels that replace pieces of the configuration. The model takes
	// no notice of what they say.
	Templates []string
	Servers   []Server

	groups      []string
	enabled     bool
	hostText    string
	authUser    string
	checkPort   *int
	checked     bool
	bindOptions string
	sslCert     string
	raw         string // BACKEND_NETWORK_ALLOWED_ACL
}

// Server is a task of a Service.
type Server struct {
	Task string
	// Host is a name or an address.
	Host     string
	Port     int
	Draining bool
}

// Backend is the name of the backend in HAProxy.
func (s *Service) Backend() string { return underscored(s.App) + "_" + strconv.Itoa(s.ServicePort) }

// multiple tells that the label has a comma, for which other templates are used.
func (s *Service) multiple() bool { return strings.Contains(s.hostText, ",") }

// truth knows marathon-lb's words for true: everything else is false.
func truth(value string) bool {
	return slices.Contains([]string{"true", "t", "yes", "y"}, strings.ToLower(value))
}

// An error of these keeps marathon-lb from making any configuration.
type labelFunc func(s *Service, value string) error

// portLabels are the labels of a port, without those that are templates.
var portLabels = map[string]labelFunc{
	"AUTH": func(s *Service, v string) error {
		parts := strings.Split(v, ":")
		if len(parts) != 3 {
			return fmt.Errorf("it is not realm:user:hash (it has %d parts)", len(parts))
		}
		s.Realm, s.authUser = parts[0], parts[1]
		s.HasAuth = parts[0] != ""
		return nil
	},
	"BACKEND_HEALTHCHECK_PORT_INDEX": func(s *Service, v string) error {
		n, err := wholeNumber(v)
		s.checkPort = &n
		return err
	},
	"BACKEND_NETWORK_ALLOWED_ACL": func(s *Service, v string) error { s.raw, s.Networks = v, strings.Fields(v); return nil },
	"BACKEND_WEIGHT": func(s *Service, v string) (err error) {
		s.Weight, err = wholeNumber(v)
		return err
	},
	"BALANCE":                     func(s *Service, v string) error { s.Balance = v; return nil },
	"BIND_ADDR":                   func(s *Service, v string) error { s.BindAddress = v; return nil },
	"BIND_OPTIONS":                func(s *Service, v string) error { s.bindOptions = v; return nil },
	"ENABLED":                     func(s *Service, v string) error { s.enabled = truth(v); return nil },
	"GROUP":                       func(s *Service, v string) error { s.groups = strings.Split(v, ","); return nil },
	"HTTP_BACKEND_PROXYPASS_PATH": func(s *Service, v string) error { s.StripPrefix = v; return nil },
	"HTTP_BACKEND_REDIR":          func(s *Service, v string) error { s.RootRedirect = v; return nil },
	"HTTP_BACKEND_REVPROXY_PATH":  func(s *Service, v string) error { s.LocationPrefix = v; return nil },
	"MODE":                        func(s *Service, v string) error { s.Mode = strings.ToLower(v); return nil },
	"PATH": func(s *Service, v string) error {
		if s.Path = v; s.Weight == 0 {
			s.Weight = 1
		}
		return nil
	},
	"PORT": func(s *Service, v string) (err error) {
		s.ServicePort, err = wholeNumber(v)
		return err
	},
	"REDIRECT_TO_HTTPS": func(s *Service, v string) error { s.Redirect = truth(v); return nil },
	"SSL_CERT":          func(s *Service, v string) error { s.sslCert = v; return nil },
	"STICKY":            func(s *Service, v string) error { s.Sticky = truth(v); return nil },
	"USE_HSTS":          func(s *Service, v string) error { s.HSTS = truth(v); return nil },
	"VHOST": func(s *Service, v string) error {
		s.hostText = strings.ToLower(v)
		if s.hostText != "" {
			s.Hosts = strings.Split(s.hostText, ",")
		}
		return nil
	},
}

// templateLabels replace a piece of HAProxy's configuration for one port.
var templateLabels = []string{
	"BACKEND_HEAD", "BACKEND_HSTS_OPTIONS", "BACKEND_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_HTTP_OPTIONS", "BACKEND_REDIRECT_HTTP_TO_HTTPS",
	"BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_SERVER_OPTIONS",
	"BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", "BACKEND_STICKY_OPTIONS", "BACKEND_TCP_HEALTHCHECK_OPTIONS", "FRONTEND_BACKEND_GLUE", "FRONTEND_HEAD",
	"HTTPS_FRONTEND_ACL", "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH", "HTTPS_FRONTEND_ACL_WITH_AUTH", "HTTPS_FRONTEND_ACL_WITH_AUTH_AND_PATH",
	"HTTPS_FRONTEND_ACL_WITH_PATH", "HTTP_BACKEND_NETWORK_ALLOWED_ACL", "HTTP_BACKEND_PROXYPASS_GLUE", "HTTP_BACKEND_REVPROXY_GLUE",
	"HTTP_FRONTEND_ACL", "HTTP_FRONTEND_ACL_ONLY", "HTTP_FRONTEND_ACL_ONLY_WITH_PATH", "HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH",
	"HTTP_FRONTEND_ACL_WITH_AUTH", "HTTP_FRONTEND_ACL_WITH_AUTH_AND_PATH", "HTTP_FRONTEND_ACL_WITH_PATH", "HTTP_FRONTEND_APPID_ACL",
	"HTTP_FRONTEND_ROUTING_ONLY", "HTTP_FRONTEND_ROUTING_ONLY_WITH_AUTH", "HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH",
	"HTTP_FRONTEND_ROUTING_ONLY_WITH_PATH_AND_AUTH", "MAP_HTTPS_FRONTEND_ACL", "MAP_HTTP_FRONTEND_ACL", "MAP_HTTP_FRONTEND_ACL_ONLY",
	"MAP_HTTP_FRONTEND_APPID_ACL", "TCP_BACKEND_NETWORK_ALLOWED_ACL", "USERLIST_HEAD",
}

// labelOrder is the order in which labels are read: BACKEND_WEIGHT comes before PATH.
var labelOrder = func() (names []string) {
	for name := range portLabels {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

// wholeNumber reads a number as Python's int does: with spaces around it and underscores
// between digits.
func wholeNumber(v string) (int, error) {
	text := strings.TrimSpace(v)
	if strings.Contains(text, "__") || strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") {
		return 0, fmt.Errorf("%.40q is no whole number", v)
	}
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil {
		return 0, fmt.Errorf("%.40q is no whole number", v)
	}
	return n, nil
}

// newService reads the labels of a port. failed are the labels that marathon-lb cannot read,
// with the reasons.
func newService(app *App, port, servicePort int, strict bool) (s *Service, failed []Failure) {
	s = &Service{App: app.ID, Port: port, ServicePort: servicePort, BindAddress: "*", Balance: "roundrobin", enabled: !strict}
	health := app.check(port)
	if health != nil && health.Protocol == "HTTP" {
		s.Mode = "http"
	}
	prefix := "HAPROXY_" + strconv.Itoa(port) + "_"
	for _, name := range labelOrder {
		value, given := app.Labels[prefix+name]
		if !given {
			continue
		}
		if err := portLabels[name](s, value); err != nil {
			failed = append(failed, Failure{App: app.ID, Label: prefix + name, Reason: err.Error()})
		}
	}
	for _, name := range templateLabels {
		if _, given := app.Labels[prefix+name]; given {
			s.Templates = append(s.Templates, prefix+name)
		}
	}
	if health == nil && s.checkPort != nil {
		if other := app.check(*s.checkPort); other != nil && slices.Contains([]string{"HTTP", "HTTPS", "MESOS_HTTP", "MESOS_HTTPS"}, other.Protocol) {
			s.Mode = "http"
		}
		health = app.check(*s.checkPort)
	}
	s.checked = health != nil
	return s, failed
}

// settle decides the mode where nothing says it. It comes after groups and states were
// looked at.
func (s *Service) settle() {
	if s.Mode == "" && s.hostText != "" {
		s.Mode = "http"
	}
	if s.Mode == "" {
		s.Mode = "tcp"
	}
}
