package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"relay/collator"
	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/sources"
	"relay/xds"
)

// Service is an app port that wants a TCP port of Envoy, or the TLS connections for a server
// name.
type Service struct {
	Fleet string `json:"fleet"`
	App   string `json:"app"`
	Port  int    `json:"port"`
	// Listener is the resource, and Address what it binds.
	Listener string `json:"listener"`
	Address  string `json:"address"`
	// ServerName is the name whose TLS is passed through; empty for a port.
	ServerName string   `json:"serverName,omitempty"`
	Outcome    Outcome  `json:"outcome"`
	Reason     string   `json:"reason"`
	Cluster    string   `json:"cluster"`
	Handling   []string `json:"handling,omitempty"`

	// routed is what Handling is made of, at the end.
	routed routing.Service
}

// servicesIn returns all TCP services of a fleet.
func servicesIn(f *routing.Fleet, apps []*sources.App) routing.ServiceIndex {
	x := routing.NewServiceIndex()
	for _, app := range apps {
		if !slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return p.TCP != nil }) {
			continue
		}
		services, _ := f.ServicesOf(app.ID, app)
		for _, s := range services {
			x.Add(s)
		}
	}
	return x
}

// onPort returns the services that want a TCP port.
func onPort(f *routing.Fleet, x routing.ServiceIndex, port uint16) []Service {
	return serviceViews(f, x.Ports[port], func(s routing.Service) Service {
		address := s.Address
		if !address.IsValid() {
			address = f.HTTP.Addr()
		}
		return Service{Listener: routing.TCPListener(port), Address: netip.AddrPortFrom(address, port).String()}
	})
}

// showing returns the services whose TLS Envoy ends with a certificate for a name.
func showing(f *routing.Fleet, x routing.ServiceIndex, name string) (views []Service) {
	for _, one := range hostname.Candidates(name) {
		for _, s := range x.Shown[one] {
			if has, ok := x.Opened(routing.TCPListener(s.Listen)); ok && has.AppPort == s.AppPort {
				views = append(views, onPort(f, x, s.Listen)[0])
			}
		}
	}
	return views
}

// onName returns the services that want the TLS connections for a server name. claims are
// those on the domain of that name.
func onName(f *routing.Fleet, x routing.ServiceIndex, claims []routing.Claim, name string) []Service {
	where := func(routing.Service) Service {
		return Service{Listener: routing.HTTPSListener, Address: f.HTTPS.String(), ServerName: name}
	}
	lose := func(views []Service, reason string) {
		for i := range views {
			views[i].Outcome, views[i].Reason = Loses, reason
		}
	}
	var wanting []routing.Service
	var refused []Service
	for _, s := range x.Names[name] {
		if err := collator.UnusableService(f, s); err != nil {
			one := serviceViews(f, []routing.Service{s}, where)
			lose(one, "it is left out of the listener: "+err.Error())
			refused = append(refused, one...)
			continue
		}
		wanting = append(wanting, s)
	}
	views := serviceViews(f, wanting, where)
	if len(wanting) > 0 {
		if winner, lost := routing.WinningHTTPClaim(claims, wanting[0]); lost {
			lose(views, routing.NotPassedReason(winner))
		}
	}
	return append(views, refused...)
}

// passes returns a function that reports whether the TLS of a server name is passed through.
func passes(f *routing.Fleet, x routing.ServiceIndex, on map[string][]routing.Claim) func(name string) bool {
	return func(name string) bool {
		views := onName(f, x, on[name], name)
		return len(views) > 0 && views[0].Outcome == Serves
	}
}

func serviceViews(f *routing.Fleet, wanting []routing.Service, where func(routing.Service) Service) []Service {
	views := make([]Service, len(wanting))
	for i, s := range wanting {
		v := where(s)
		v.Fleet, v.App, v.Port, v.Cluster = f.Name, s.App, s.Port, s.Cluster()
		switch {
		case i > 0:
			v.Outcome, v.Reason = Loses, wanting[0].String()+" has it (the lowest app id wins, then the lowest port)"
		case s.Closed:
			v.Outcome, v.Reason = Loses, "a restriction was asked for that cannot be kept: it is not opened, and keeps its place"
		case len(wanting) > 1:
			v.Outcome, v.Reason = Serves, "it has the lowest app id, then the lowest port, of those that want it"
		default:
			v.Outcome, v.Reason = Serves, "no other port wants it"
		}
		v.routed = s
		views[i] = v
	}
	return views
}

// handle says of each service that gets connections what Envoy does with them.
func (x explainer) handle(services []Service) {
	for i := range services {
		s := &services[i]
		if s.Outcome == Serves {
			s.Handling = serviceWords(s.routed, x.c.LacksAuthority(s.routed.TLS))
		}
		s.routed = routing.Service{}
	}
}

func serviceWords(s routing.Service, lacksAuthority bool) []string {
	var words []string
	if s.TLS != nil {
		words = serviceTLSWords(*s.TLS, lacksAuthority)
		if routing.AsksForCertificates(s.TLS) {
			words = append(words, refusedHint)
		}
	}
	if s.AcceptProxy {
		words = append(words, "connections begin with the PROXY protocol's header")
	}
	if len(s.Networks) > 0 {
		words = append(words, fmt.Sprintf("only clients from %s are let in, all others are closed at once", joinNetworks(s.Networks)))
	}
	if s.BySource {
		words = append(words, "the instance is picked by the client's address")
	}
	return append(words, idleWords("connections", s.IdleTimeout))
}

// addServicesOf adds the services that want a port of an app as it is routed, or one of its names.
// Sharing are all apps that claim one of these.
func (x explainer) addServicesOf(e *Explanation, app *sources.App, sharing []*sources.App, names map[string]struct{}) {
	for _, f := range x.Fleets {
		services, _ := f.ServicesOf(app.ID, app)
		if len(services) == 0 {
			continue // most apps have none, and to look at all apps for them takes long
		}
		all, on := servicesIn(f, x.Routed), claimsOn(sharing, f, names)
		for _, s := range services {
			if s.Listen != 0 {
				e.addServices(onPort(f, all, s.Listen))
			}
			for _, name := range s.Names {
				e.addServices(onName(f, all, on[name], name))
			}
		}
	}
}

// port explains a TCP port, of which the subject is the listener's name.
func (x explainer) port(subject string, port uint16) Explanation {
	e := Explanation{Subject: subject, Needs: make(map[string][]xds.Key)}
	claimants := make(map[string]struct{})
	for _, f := range x.Fleets {
		e.addServices(onPort(f, servicesIn(f, x.Routed), port))
	}
	for _, s := range e.Services {
		claimants[s.App] = struct{}{}
	}
	if len(e.Services) == 0 {
		claimants = x.claimantsAnywhere(func(app *sources.App) bool {
			return slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return p.TCP != nil && p.TCP.Port == port })
		})
	}
	x.addClaimants(&e, claimants)
	e.Known = len(e.Apps) > 0
	return e
}

func (e *Explanation) addServices(views []Service) {
	for _, v := range views {
		if slices.ContainsFunc(e.Services, func(o Service) bool {
			return cmp.Or(cmp.Compare(o.Fleet, v.Fleet), cmp.Compare(o.Listener, v.Listener), cmp.Compare(o.ServerName, v.ServerName),
				cmp.Compare(o.App, v.App), cmp.Compare(o.Port, v.Port)) == 0
		}) {
			continue
		}
		e.Services = append(e.Services, v)
		if v.Outcome == Serves {
			e.add(v.Fleet, xds.Listener, v.Listener)
			e.needCluster(v.Fleet, v.Cluster)
		}
	}
}

// passThrough finds the service that gets the TLS connections for a host: by a name that is
// as exact as that of the certificate, or more. With it come the services that want the
// host by a more exact name, and do not get it. It changes https, if there is one.
func passThrough(f *routing.Fleet, x routing.ServiceIndex, on map[string][]routing.Claim, host string, https *HTTPS) []Service {
	var losing []Service
	for _, name := range hostname.Candidates(host) {
		views := onName(f, x, on[name], name)
		if len(views) > 0 && views[0].Outcome == Serves {
			if used := https.Certificate; used != nil {
				used.Reason = "TLS is passed through to the app"
				https.Others, https.Certificate = slices.Insert(https.Others, 0, *used), nil
			}
			https.Notes = []string{fmt.Sprintf("TLS for %s is passed through to port %d of %s, which has the certificate", name, views[0].Port, views[0].App)}
			return append(losing, views...)
		}
		losing = append(losing, views...)
		if https.Certificate != nil && https.Certificate.ServerName == name {
			break
		}
	}
	return losing
}
