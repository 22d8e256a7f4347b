package collator

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

// ServiceView is what an app port gets by TCP: a port that Envoy opens, or the
// TLS connections to the https listener that ask for a name.
type ServiceView struct {
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
}

// servicesIn returns all TCP services of a fleet.
func (f *fleetState) servicesIn(apps []*sources.App) routing.ServiceIndex {
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

// onPort returns who wants a TCP port.
func (f *fleetState) onPort(x routing.ServiceIndex, port uint16) []ServiceView {
	return f.serviceViews(x.Ports[port], func(s routing.Service) ServiceView {
		address := s.Address
		if !address.IsValid() {
			address = f.HTTP.Addr()
		}
		return ServiceView{Listener: routing.TCPListener(port), Address: netip.AddrPortFrom(address, port).String()}
	})
}

// onName returns who wants the TLS connections for a name, of which there are the
// claims given.
func (f *fleetState) onName(x routing.ServiceIndex, claims []routing.Claim, name string) []ServiceView {
	where := func(routing.Service) ServiceView {
		return ServiceView{Listener: routing.HTTPSListener, Address: f.HTTPS.String(), ServerName: name}
	}
	lose := func(views []ServiceView, reason string) {
		for i := range views {
			views[i].Outcome, views[i].Reason, views[i].Handling = Loses, reason, nil
		}
	}
	var wanting []routing.Service
	var refused []ServiceView
	for _, s := range x.Names[name] {
		if err := RefusedService(&f.Fleet, s); err != nil {
			one := f.serviceViews([]routing.Service{s}, where)
			lose(one, "it is left out of the listener: "+err.Error())
			refused = append(refused, one...)
			continue
		}
		wanting = append(wanting, s)
	}
	views := f.serviceViews(wanting, where)
	if len(wanting) > 0 {
		if holder, held := routing.HTTPHolder(claims, wanting[0]); held {
			lose(views, holdsName(holder))
		}
	}
	return append(views, refused...)
}

// passes returns what tells whether the TLS connections for a name go to an app as
// they are.
func (f *fleetState) passes(x routing.ServiceIndex, on map[string][]routing.Claim) func(name string) bool {
	return func(name string) bool {
		views := f.onName(x, on[name], name)
		return len(views) > 0 && views[0].Outcome == Serves
	}
}

func (f *fleetState) serviceViews(wanting []routing.Service, where func(routing.Service) ServiceView) []ServiceView {
	views := make([]ServiceView, len(wanting))
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
		if v.Outcome == Serves {
			v.Handling = serviceWords(s)
		}
		views[i] = v
	}
	return views
}

func serviceWords(s routing.Service) []string {
	var words []string
	if s.AcceptProxy {
		words = append(words, "connections begin with the PROXY protocol's header")
	}
	if len(s.Networks) > 0 {
		words = append(words, fmt.Sprintf("only clients from %s are let in, all others are closed at once", joinNetworks(s.Networks)))
	}
	if s.BySource {
		words = append(words, "the instance is picked by the client's address")
	}
	return append(words, fmt.Sprintf("connections on which nothing moves end after %s (0s: never)", s.IdleTimeout))
}

// explainServices adds the services that want a port of the app, or one of its
// names.
func (c *Collator) explainServices(e *Explanation, app string, apps []*sources.App, names map[string]struct{}) {
	for _, f := range c.fleets {
		x, on := f.servicesIn(apps), claimsOn(apps, &f.Fleet, names)
		for _, of := range apps {
			if of.ID != app {
				continue
			}
			services, _ := f.ServicesOf(app, of)
			for _, s := range services {
				if s.Listen != 0 {
					e.addServices(f.onPort(x, s.Listen))
				}
				for _, name := range s.Names {
					e.addServices(f.onName(x, on[name], name))
				}
			}
		}
	}
}

// explainPort explains a TCP port, of which the subject is the listener's name.
func (c *Collator) explainPort(subject string, port uint16) Explanation {
	e := Explanation{Subject: subject, Needs: make(map[string][]xds.Key)}
	apps := c.routedApps()
	claimants := make(map[string]struct{})
	for _, f := range c.fleets {
		e.addServices(f.onPort(f.servicesIn(apps), port))
	}
	for _, s := range e.Services {
		claimants[s.App] = struct{}{}
	}
	e.Known = len(e.Services) > 0
	c.addClaimants(&e, claimants)
	return e
}

func (e *Explanation) addServices(views []ServiceView) {
	for _, v := range views {
		if slices.ContainsFunc(e.Services, func(o ServiceView) bool {
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

// passThrough finds the service that gets the TLS connections for a host before
// any certificate is looked at: by the same name, or a more exact one. With it come
// those that want the host under a more exact name, and do not get it.
func (f *fleetState) passThrough(x routing.ServiceIndex, on map[string][]routing.Claim, host string, https *HTTPSView) []ServiceView {
	var losing []ServiceView
	for _, name := range routing.HostNames(host) {
		views := f.onName(x, on[name], name)
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
