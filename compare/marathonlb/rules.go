package marathonlb

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Options are what a marathon-lb was started with.
type Options struct {
	// Groups are those of --group; "*" is all.
	Groups []string
	// StrictMode is --strict-mode, HealthCheck --health-check, HAProxyMap --haproxy-map.
	StrictMode, HealthCheck, HAProxyMap bool
	// Framework is FRAMEWORK_NAME in the environment: the id of an app that is left out.
	Framework string
}

// Rules are what marathon-lb makes of the apps.
type Rules struct {
	// Services are ordered by the id of the app, then by the service port.
	Services []*Service
	// Skipped are ports of apps for which there is nothing.
	Skipped []Skipped
	// Failures are why marathon-lb makes no new configuration at all. The rest of Rules is
	// what it would make without these apps.
	Failures []Failure

	http, https frontend
	// refusedGroups are deployment groups of several apps that HAProxy refuses.
	refusedGroups []string
	// byAppID is which service the frontend on port 9091 has for an app.
	byAppID map[string]*Service
	// mapped is the order of the map of domains, with --haproxy-map.
	mapped []mapEntry
}

// Skipped is a port of an app that marathon-lb leaves out, or all of them if Port is negative.
type Skipped struct {
	App    string
	Port   int
	Reason string
	// Refused is set if HAProxy would not take the app's rules.
	Refused bool
}

// Failure is a label that marathon-lb cannot read. It then keeps the configuration that it
// has: no change of any app counts.
type Failure struct{ App, Label, Reason string }

// RulesOf returns what marathon-lb makes of the apps, given in the order of Marathon's list.
func RulesOf(apps []App, o Options) *Rules {
	r := rulesOf(apps, o)
	refused := r.refusedMembers(apps, o)
	if len(refused) == 0 {
		return r
	}
	rest := slices.DeleteFunc(slices.Clone(apps), func(a App) bool { return refused[a.ID] != nil })
	r = rulesOf(rest, o)
	for _, id := range slices.Sorted(maps.Keys(refused)) {
		r.Skipped = append(r.Skipped, refused[id]...)
	}
	return r
}

func rulesOf(apps []App, o Options) *Rules {
	r := &Rules{byAppID: make(map[string]*Service)}
	kept := make([]App, 0, len(apps))
	for _, app := range apps {
		if app.noLabels {
			r.fail(app.ID, "", "it has no labels field at all")
			continue
		}
		kept = append(kept, app)
	}
	grouped := r.merge(kept)
	assigned := newAssigner()
	var all []*Service
	for i := range grouped {
		if o.Framework != "" && grouped[i].app.ID == "/"+o.Framework {
			continue
		}
		all = append(all, r.servicesOf(&grouped[i], o, assigned)...)
	}
	slices.SortStableFunc(all, func(a, b *Service) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.ServicePort, b.ServicePort))
	})
	r.Services = r.refuse(r.selected(all, o), kept, o.HAProxyMap)
	for _, s := range r.Services {
		s.settle()
		if _, there := r.byAppID[s.App]; !there && s.Mode == "http" {
			r.byAppID[s.App] = s
		}
	}
	r.http, r.https = r.frontends(o.HAProxyMap)
	return r
}

func (r *Rules) fail(app, label, reason string) {
	r.Failures = append(r.Failures, Failure{App: app, Label: label, Reason: reason})
}

func (r *Rules) skip(app string, port int, reason string, args ...any) {
	r.Skipped = append(r.Skipped, Skipped{App: app, Port: port, Reason: fmt.Sprintf(reason, args...)})
}

// servicesOf returns the services of an app that have a task.
func (r *Rules) servicesOf(g *grouped, o Options, assigned *assigner) (services []*Service) {
	app := &g.app
	ports := app.servicePorts
	if len(ports) == 0 && app.mode == modeContainer && len(app.tasks) > 0 {
		for _, p := range app.containerPorts {
			ports = append(ports, assigned.port(app.ID, p))
		}
	}
	// One service for each service port: of two with the same one the last counts.
	byPort := make(map[int]*Service, len(ports))
	var order []int
	for i, servicePort := range ports {
		s, failed := newService(app, i, servicePort, o.StrictMode)
		if len(failed) > 0 {
			r.Failures = append(r.Failures, failed...)
			return nil
		}
		if s.Members = g.members; s.groups == nil {
			if groups, given := app.Labels["HAPROXY_GROUP"]; given {
				s.groups = splitGroups(groups)
			}
		}
		if _, twice := byPort[servicePort]; !twice {
			order = append(order, servicePort)
		}
		byPort[servicePort] = s
	}
	r.addServers(app, ports, byPort, o)
	for _, port := range order {
		if s := byPort[port]; len(s.Servers) > 0 {
			services = append(services, s)
		} else {
			r.skip(s.App, s.Port, "no task of it runs, so it has no rules")
		}
	}
	return services
}

// addServers gives each task to the services of its ports, as many as both have.
func (r *Rules) addServers(app *App, ports []int, byPort map[int]*Service, o Options) {
	for _, t := range app.tasks {
		switch {
		case t.Host == "" || excludedStates[t.State]:
			continue
		case o.HealthCheck && app.hasChecks && !t.alive():
			continue
		}
		host := app.address(t)
		if host == "" {
			continue
		}
		for i, port := range app.taskPorts(t) {
			if i >= len(ports) {
				break
			}
			server := Server{Task: t.ID, Host: host, Port: port, Draining: t.draining}
			s := byPort[ports[i]]
			s.Servers = append(s.Servers, server)
		}
	}
}

// excludedStates are those of tasks that get no requests. Lost and unreachable tasks do.
var excludedStates = map[string]bool{
	"TASK_STAGING": true, "TASK_STARTING": true, "TASK_KILLING": true, "TASK_FINISHED": true, "TASK_FAILED": true, "TASK_KILLED": true,
	"TASK_ERROR": true, "TASK_DROPPED": true, "TASK_GONE": true, "TASK_GONE_BY_OPERATOR": true, "TASK_UNKNOWN": true,
}

// selected returns the services of the groups that are switched on.
func (r *Rules) selected(all []*Service, o Options) (selected []*Service) {
	perApp := make(map[string]int)
	for _, s := range all {
		perApp[s.App]++
	}
	for _, s := range all {
		switch {
		case !inGroup(o.Groups, s.groups):
			if len(s.groups) == 0 {
				r.skip(s.App, s.Port, "it has no HAPROXY_GROUP")
			} else {
				r.skip(s.App, s.Port, "its groups are %q", s.groups)
			}
		case !s.enabled && o.StrictMode:
			r.skip(s.App, s.Port, "--strict-mode asks for HAPROXY_%d_ENABLED=true", s.Port)
		case !s.enabled:
			r.skip(s.App, s.Port, "HAPROXY_%d_ENABLED is not one of true, t, yes, y", s.Port)
		case s.checked && s.checkPort != nil && outOfRange(*s.checkPort, perApp[s.App]):
			r.fail(s.App, fmt.Sprintf("HAPROXY_%d_BACKEND_HEALTHCHECK_PORT_INDEX", s.Port), "it is one more than the last port")
		default:
			selected = append(selected, s)
		}
	}
	return selected
}

// outOfRange tells of the one index that is not checked for: other wrong ones are ignored.
func outOfRange(index, ports int) bool { return index == ports }

// inGroup compares groups as they are written, with any white space.
func inGroup(own, of []string) bool {
	if slices.Contains(own, "*") {
		return true
	}
	return slices.ContainsFunc(of, func(g string) bool { return slices.Contains(own, g) })
}

// assigner gives service ports to apps with an address for each task, which have none.
type assigner struct {
	taken map[int]bool
	given map[string]int
}

// The range of --min-serv-port-ip-per-task and --max-serv-port-ip-per-task.
const firstAssigned, lastAssigned = 10050, 10100

func newAssigner() *assigner {
	return &assigner{taken: make(map[int]bool), given: make(map[string]int)}
}

func (a *assigner) port(app string, taskPort int) int {
	key := app + "-" + strconv.Itoa(taskPort)
	if port := a.given[key]; port != 0 {
		return port
	}
	port := 0
	for i := range 50 {
		sum := sha1.Sum([]byte(key + "-" + strconv.Itoa(i)))
		n, _ := strconv.ParseUint(hex.EncodeToString(sum[:4]), 16, 32)
		if trial := firstAssigned + int(n%(lastAssigned-firstAssigned+1)); !a.taken[trial] {
			port = trial
			break
		}
	}
	for p := firstAssigned; port == 0 && p <= lastAssigned; p++ {
		if !a.taken[p] {
			port = p
		}
	}
	a.taken[port], a.given[key] = true, port
	return port
}

// ByAppID returns the services that the frontend on port 9091 has, ordered by app.
func (r *Rules) ByAppID() (services []*Service) {
	for _, app := range slices.Sorted(maps.Keys(r.byAppID)) {
		services = append(services, r.byAppID[app])
	}
	return services
}
